package parse

import "strings"

// The words that mail programs put around a quote, in lower case, in the
// languages they are shipped in. They are data of reply.go.

func wordSet(words ...string) map[string]bool {
	set := make(map[string]bool, len(words))
	for _, w := range words {
		set[w] = true
	}
	return set
}

// has looks a word of any case up in a set.
func has(set map[string]bool, word string) bool { return set[strings.ToLower(word)] }

// attributionStarts are the words an attribution begins with.
var attributionStarts = wordSet(
	"on", "at", "in", "am", "le", "el", "il", "em", "op", "den", "dnia", "w", "dne", "dňa", "på", "pe", "la", "на", "в", "у", "στις", "tarihinde", "a", "em",
	"mon", "tue", "wed", "thu", "fri", "sat", "sun", "vào", "pada", "tanggal", "dana", "ke", "ma", "ti", "to", "su", "בתאריך", "في", "quoting",
	"pon", "wt", "śr", "czw", "pt", "sob", "ndz", "po", "út", "st", "čt", "pá", "so", "ne", "пн", "вт", "ср", "чт", "пт", "сб", "вс",
)

// wroteVerbs are how an attribution ends.
var wroteVerbs = []string{
	"wrote", "writes", "schrieb", "a écrit", "escribió", "ha scritto", "scrisse", "escreveu", "schreef", "geschreven", "skrev", "kirjoitti",
	"napisał", "pisze", "napsal", "napísal", "írta", "a scris", "написал", "пишет", "пише", "написав", "написа", "je napisao", "je napisal", "napisala",
	"έγραψε", "yazdı", "写道", "寫道", "书写", "のメール", "書きました", "님이 작성", "작성:", "כתב", "كتب", "đã viết", "menulis", "va escriure", "kirjutas", "rašė", "rakstīja",
}

var originalMessages = wordSet(
	"original message", "original appointment", "reply message", "original email", // en
	"ursprüngliche nachricht", "originalnachricht", "original-nachricht", "weitergeleitete nachricht", // de
	"message d'origine", "message original", "e-mail d'origine", // fr
	"mensaje original", "messaggio originale", "mensagem original", // es it pt
	"oorspronkelijk bericht", "originalmeddelande", "ursprungligt meddelande", "oprindelig meddelelse", "original meddelelse", // nl sv da
	"opprinnelig melding", "original melding", "alkuperäinen viesti", // no fi
	"wiadomość oryginalna", "oryginalna wiadomość", "původní zpráva", "původní e-mail", "pôvodná správa", // pl cs sk
	"eredeti üzenet", "mesaj original", "mesajul original", // hu ro
	"исходное сообщение", "оригинальное сообщение", "оригінальне повідомлення", // ru uk
	"izvorna poruka", "originalna poruka", "izvirno sporočilo", "αρχικό μήνυμα", // hr sr sl el
	"özgün ileti", "orijinal mesaj", "original-meddelande", // tr
	"元のメッセージ", "原始邮件", "原始郵件", "原邮件", "원본 메시지", "הודעה מקורית", "الرسالة الأصلية",
)

var fromLabels = wordSet(
	"from", "von", "de", "da", "van", "från", "fra", "lähettäjä", "od", "feladó", "de la", "от", "від", "oд", "από", "kimden", "gönderen",
	"差出人", "送信元", "发件人", "寄件者", "보낸 사람", "보낸사람", "מאת", "من", "expéditeur", "mittente", "afzender", "absender",
)

var otherLabels = wordSet(
	"sent", "date", "to", "cc", "bcc", "subject", "reply-to", "importance", // en
	"gesendet", "datum", "an", "betreff", "kopie", // de
	"envoyé", "envoyé le", "à", "objet", "destinataire", // fr
	"enviado", "enviado el", "fecha", "para", "asunto", // es
	"inviato", "data", "a", "oggetto", // it
	"enviada", "enviada em", "enviado em", "assunto", // pt
	"verzonden", "aan", "onderwerp", // nl
	"skickat", "till", "ämne", "kopia", "sendt", "til", "emne", "dato", // sv da no
	"lähetetty", "vastaanottaja", "kopio", "aihe", "päivämäärä", // fi
	"wysłano", "wysłane", "do", "dw", "temat", // pl
	"odesláno", "komu", "předmět", "kopie", "odoslané", "predmet", // cs sk
	"küldve", "elküldve", "címzett", "tárgy", "másolatot kap", // hu
	"trimis", "către", "subiect", // ro
	"отправлено", "кому", "копия", "тема", "дата", "надіслано", "копія", // ru uk
	"poslano", "za", "predmet", "zadeva", // hr sl
	"στάλθηκε", "προς", "θέμα", "ημερομηνία", // el
	"gönderilme tarihi", "kime", "konu", "tarih", // tr
	"送信日時", "日付", "宛先", "件名", "发送时间", "收件人", "主题", "抄送", "日期", "寄件日期", "收件者", "主旨", "副本",
	"보낸 날짜", "받는 사람", "제목", "참조", "נשלח", "אל", "נושא", "تاريخ الإرسال", "إلى", "الموضوع", "التاريخ",
)

// inlineWords announce answers between the lines of what is answered.
var inlineWords = []string{
	"inline", "in-line", "comments below", "answers below", "see below", "responses below", "replies below", "my comments in", "in red below", "in blue below",
	"siehe unten", "antworten unten", "voir ci-dessous", "réponses ci-dessous", "ver abajo", "respuestas abajo", "zie onder", "vedi sotto", "se nedan",
}

// deviceLines are how the lines begin that phones and programs add.
var deviceLines = []string{
	"sent from my ", "sent from mail for ", "sent from outlook", "sent from yahoo", "sent from gmail", "sent from samsung", "sent via ", "sent with ", "sent using ",
	"get outlook for ", "sent on the go", "typed on my ", "enviado desde mi ", "enviado desde ", "enviado do meu ", "enviado a partir do ", "obtener outlook para ", "obter o outlook para ",
	"von meinem ", "gesendet von ", "gesendet mit ", "diese nachricht wurde von meinem", "outlook für ", "holen sie sich outlook", "envoyé de mon ", "envoyé depuis ", "envoyé à partir de ", "télécharger outlook pour ",
	"inviato da ", "inviato dal mio ", "verzonden vanaf ", "verstuurd vanaf ", "verzonden met ", "skickat från min ", "skickat från ", "sendt fra min ", "sendt fra ", "lähetetty ",
	"wysłane z ", "wysłano z ", "odesláno z ", "odoslané z ", "küldve az ", "trimis de pe ", "отправлено с ", "отправлено из ", "надіслано з ", "poslano s ", "στάλθηκε από ",
	"iphone'umdan", "iphone’umdan gönderildi", "iphone'dan gönderildi", "iphoneから送信", "ipadから送信", "androidから送信", "发自我的", "从我的", "從我的", "傳送自", "나의 iphone", "내 iphone",
	"נשלח מה", "أرسلت من ", "تم الإرسال من ", "gửi từ ", "dikirim dari ",
}
