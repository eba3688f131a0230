package parse

import "testing"

func TestReply(t *testing.T) {
	tests := []struct{ name, in, strategy, confidence, want string }{
		{"no quote", "Hello\nthere", "", "", ""},
		{"gmail", "Yes.\n\nOn Mon, Mar 2, 2026 at 6:26 PM A B <a@example.com> wrote:\n\n> Is it?\n", "attribution", "high", "Yes."},
		{"gmail, wrapped", "Yes.\n\nOn Mon, Mar 2, 2026 at 6:26 PM A B <\na@example.com> wrote:\n\n> Is it?\n", "attribution", "high", "Yes."},
		{"apple", "Yes.\n\n> On 2 Mar 2026, at 19:21, A <a@example.com> wrote:\n>\n> Is it?\n", "quote", "medium", "Yes."},
		{"apple, with a phone's line", "Yes.\n\nSent from my iPhone\n\nOn Mar 2, 2026, at 4:19 PM, A wrote:\n\n> Is it?", "attribution", "high", "Yes."},
		{"thunderbird, below", "On 02.03.26 18:26, A wrote:\n> Is it?\nYes.\n", "attribution_bottom", "medium", "Yes."},
		{"inline", "On 02.03.26 18:26, A wrote:\n> One?\nYes.\n> Two?\nNo.\n", "inline", "low", "On 02.03.26 18:26, A wrote:\n> One?\nYes.\n> Two?\nNo."},
		{"inline, announced", "See my answers inline.\n\nFrom: A\nSent: Monday\nTo: B\nSubject: C\n\nOne? Yes.", "inline", "low", "See my answers inline.\n\nFrom: A\nSent: Monday\nTo: B\nSubject: C\n\nOne? Yes."},
		{"outlook", "Yes.\n\n________________________________\nFrom: A <a@example.com>\nSent: Monday, March 2, 2026 6:26 PM\nTo: B\nSubject: RE: it\n\nIs it?", "header_block", "high", "Yes."},
		{"outlook, bold", "Yes.\n\n*From:* A\n*Sent:* Monday\n*To:* B\n*Subject:* it\n\nIs it?", "header_block", "high", "Yes."},
		{"outlook express", "Yes.\n\n-----Original Message-----\nFrom: A\n\nIs it?", "original_message", "high", "Yes."},
		{"help desk", "Yes.\n\n##- Please type your reply above this line -##\n\nYour request", "reply_above_line", "high", "Yes."},
		{"html mail without marks", "Yes.\n\nOn Mon, Mar 2, 2026 A <a@example.com> wrote:\nIs it?\nReally?", "attribution", "medium", "Yes."},
		{"signature alone", "Hello\n\n-- \nA\nExample Inc.", "signature", "medium", "Hello"},
		{"a dash inside is no signature", "Hello\n--\n" + "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\nm\nn\no\np\nq\n", "", "", ""},
		{"forward without a word", "-----Original Message-----\nFrom: A\nSent: x\nTo: y\n\nIs it?", "", "", ""},
		{"prose with colons", "He wrote:\nnothing of note.\nFrom: here on\n", "", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got Reply
			if r := newReply(&Message{Text: tt.in}); r != nil {
				got = *r
			}
			if want := (Reply{tt.want, tt.strategy, tt.confidence}); got != want {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
		})
	}
}

// TestReplyLanguages has the border of one reply in the words of each language.
func TestReplyLanguages(t *testing.T) {
	borders := map[string][]string{
		"en": {"On Mon, 2 Mar 2026 at 18:26, A <a@example.com> wrote:", "-----Original Message-----", "From: A\nSent: x\nTo: B\nSubject: C"},
		"de": {"Am Mo., 2. März 2026 um 18:26 Uhr schrieb A <a@example.com>:", "-----Ursprüngliche Nachricht-----", "Von: A\nGesendet: x\nAn: B\nBetreff: C"},
		"fr": {"Le lun. 2 mars 2026 à 18:26, A <a@example.com> a écrit :", "-----Message d'origine-----", "De : A\nEnvoyé : x\nÀ : B\nObjet : C"},
		"es": {"El lun, 2 mar 2026 a las 18:26, A (<a@example.com>) escribió:", "-----Mensaje original-----", "De: A\nEnviado el: x\nPara: B\nAsunto: C"},
		"it": {"Il giorno lun 2 mar 2026 alle ore 18:26 A <a@example.com> ha scritto:", "-----Messaggio originale-----", "Da: A\nInviato: x\nA: B\nOggetto: C"},
		"pt": {"Em seg., 2 de mar. de 2026 às 18:26, A <a@example.com> escreveu:", "-----Mensagem original-----", "De: A\nEnviada em: x\nPara: B\nAssunto: C"},
		"nl": {"Op ma 2 mrt 2026 om 18:26 schreef A <a@example.com>:", "-----Oorspronkelijk bericht-----", "Van: A\nVerzonden: x\nAan: B\nOnderwerp: C"},
		"sv": {"Den mån 2 mars 2026 kl 18:26 skrev A <a@example.com>:", "-----Ursprungligt meddelande-----", "Från: A\nSkickat: x\nTill: B\nÄmne: C"},
		"da": {"Den man. 2. mar. 2026 kl. 18.26 skrev A <a@example.com>:", "-----Oprindelig meddelelse-----", "Fra: A\nSendt: x\nTil: B\nEmne: C"},
		"no": {"man. 2. mars 2026 kl. 18:26 skrev A <a@example.com>:", "-----Opprinnelig melding-----", "Fra: A\nSendt: x\nTil: B\nEmne: C"},
		"fi": {"ma 2. maalisk. 2026 klo 18.26 A (a@example.com) kirjoitti:", "-----Alkuperäinen viesti-----", "Lähettäjä: A\nLähetetty: x\nVastaanottaja: B\nAihe: C"},
		"pl": {"pon., 2 mar 2026 o 18:26 A <a@example.com> napisał(a):", "-----Oryginalna wiadomość-----", "Od: A\nWysłano: x\nDo: B\nTemat: C"},
		"cs": {"po 2. 3. 2026 v 18:26 odesílatel A <a@example.com> napsal:", "-----Původní zpráva-----", "Od: A\nOdesláno: x\nKomu: B\nPředmět: C"},
		"hu": {"A <a@example.com> ezt írta (2026. márc. 2., H, 18:26):", "-----Eredeti üzenet-----", "Feladó: A\nElküldve: x\nCímzett: B\nTárgy: C"},
		"ro": {"În lun., 2 mar. 2026 la 18:26, A <a@example.com> a scris:", "-----Mesaj original-----", "De la: A\nTrimis: x\nCătre: B\nSubiect: C"},
		"ru": {"пн, 2 мар. 2026 г. в 18:26, A <a@example.com> написал:", "-----Исходное сообщение-----", "От: A\nОтправлено: x\nКому: B\nТема: C"},
		"uk": {"пн, 2 бер. 2026 р. о 18:26 A <a@example.com> пише:", "-----Оригінальне повідомлення-----", "Від: A\nНадіслано: x\nКому: B\nТема: C"},
		"el": {"Στις Δευ 2 Μαρ 2026 στις 18:26, A <a@example.com> έγραψε:", "-----Αρχικό μήνυμα-----", "Από: A\nΣτάλθηκε: x\nΠρος: B\nΘέμα: C"},
		"tr": {"A <a@example.com>, 2 Mar 2026 Pzt, 18:26 tarihinde şunu yazdı:", "-----Özgün İleti-----", "Kimden: A\nGönderilme Tarihi: x\nKime: B\nKonu: C"},
		"ja": {"2026年3月2日(月) 18:26 A <a@example.com>のメール:", "-----元のメッセージ-----", "差出人: A\n送信日時: x\n宛先: B\n件名: C"},
		"zh": {"A <a@example.com> 于2026年3月2日周一 18:26写道：", "-----原始邮件-----", "发件人: A\n发送时间: x\n收件人: B\n主题: C"},
		"ko": {"2026년 3월 2일 (월) 18:26, A <a@example.com>님이 작성:", "-----원본 메시지-----", "보낸 사람: A\n보낸 날짜: x\n받는 사람: B\n제목: C"},
	}
	for language, list := range borders {
		for _, border := range list {
			m := &Message{Text: "new\n\n" + border + "\n\n> old\n"}
			if r := newReply(m); r == nil || r.Text != "new" || r.Confidence != "high" {
				t.Errorf("%s: %q: %+v", language, border, r)
			}
		}
	}
}
