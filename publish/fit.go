package publish

import (
	"crypto/sha256"
	"encoding/hex"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"imapsync/event"
	"imapsync/parse"
)

// minBodyBytes is what is left of the bodies before anything else is cut.
const minBodyBytes = 32 * kib

// ladderReserve is kept for the defects and the raw blob that cutting adds.
const ladderReserve = 4 * kib

// fit cuts an event to its limits. Bodies go first, down to TargetBytes, and
// stay whole in a blob. Only when that does not bring the event under
// EventBytes do the lists of the mail follow, each to a share of EventBytes
// such that all shares together fit; then the raw mail is kept as well. Each
// step leaves a defect.
func fit(ev *event.Event, d Delivery, lim Limits) {
	if roughBound(ev) <= lim.TargetBytes {
		return
	}
	data := (*emailData)(&ev.Payload.EmailData)
	size := sizeBound(ev)
	if size <= lim.TargetBytes {
		return
	}
	for i := range data.Attachments {
		data.Attachments[i].Content = nil // it is in the blob, and only ever an extra
	}
	if size = sizeBound(ev); size <= lim.TargetBytes {
		return
	}
	data.cutReply(lim.TargetBytes / 4)
	size = cutBodies(ev, d, lim, lim.TargetBytes, minBodyBytes)
	if size <= lim.EventBytes {
		return
	}

	data.keepRaw(d, lim)
	e := lim.EventBytes
	steps := []func(){
		func() { data.cutHeaders(e / 16) },
		func() { data.cutReply(e / 16) },
		func() { data.cutSkipReasons(e / 32) },
		func() { data.cutDefects(e / 32) },
		func() { data.cutReferences(e / 16) },
		func() { data.cutFields(ev.Key) },
		func() { data.cutRecipients(e / 8) },
		func() { data.cutAttachments(e / 4) },
		func() { data.cutSubject(e / 32) },
	}
	for _, step := range steps {
		step()
		if sizeBound(ev) <= e-ladderReserve {
			return
		}
	}
	cutBodies(ev, d, lim, e, 0)
}

// cutBodies cuts text and HTML so that the event meets target, but never below
// floor bytes of JSON together, and returns the size of the event then.
func cutBodies(ev *event.Event, d Delivery, lim Limits, target, floor int) int {
	body := &ev.Payload.EmailData.Body
	size := sizeBound(ev)
	text, html := jsonLen(body.Text), jsonLen(body.HTML)
	room := max(target-ladderReserve-(size-text-html), floor)
	if text+html <= room {
		return size
	}
	textRoom := max(room/2, room-html)
	if text > textRoom {
		whole := body.Text
		body.Text = clipJSON(whole, textRoom)
		body.TextBlob = truncated(ev, body.TextBlob, d, lim, "text", whole)
		text = jsonLen(body.Text)
	}
	if htmlRoom := room - text; html > htmlRoom {
		whole := body.HTML
		body.HTML = clipHTML(clipJSON(whole, htmlRoom))
		body.HTMLBlob = truncated(ev, body.HTMLBlob, d, lim, "html", whole)
	}
	return sizeBound(ev)
}

// truncated names the blob of a body that was cut, unless an earlier step did.
func truncated(ev *event.Event, earlier *event.Blob, d Delivery, lim Limits, which, whole string) *event.Blob {
	if earlier != nil {
		return earlier
	}
	sum := sha256.Sum256([]byte(whole))
	(*emailData)(&ev.Payload.EmailData).defect(event.DefectBodyTruncated, which+" of "+strconv.Itoa(len(whole))+" bytes")
	return blob(d, lim, hex.EncodeToString(sum[:]), int64(len(whole)))
}

// cutHeaders keeps the shortest headers: those a consumer asks for are.
func (data *emailData) cutHeaders(room int) {
	names := slices.SortedFunc(maps.Keys(data.Headers), func(a, b string) int {
		if n := len(a) + len(data.Headers[a]) - len(b) - len(data.Headers[b]); n != 0 {
			return n
		}
		return strings.Compare(a, b)
	})
	kept := make(map[string]string)
	for _, name := range names {
		room -= jsonLen(name) + jsonLen(data.Headers[name]) + fieldOverhead
		if room < 0 {
			break
		}
		kept[name] = data.Headers[name]
	}
	if n := len(data.Headers) - len(kept); n > 0 {
		data.defect(event.DefectHeaders, strconv.Itoa(n)+" left out")
		data.Headers = kept
	}
}

func (data *emailData) cutReply(room int) {
	if data.Reply != nil && jsonLen(data.Reply.Text) > room {
		data.defect(event.DefectReply, strconv.Itoa(len(data.Reply.Text))+" bytes")
		data.Reply.Text = clipJSON(data.Reply.Text, room)
	}
}

func (data *emailData) cutSkipReasons(room int) {
	kept := fitting(data.IngressSkipReasons, room, ruler(jsonLen).skipReason)
	if n := len(data.IngressSkipReasons) - len(kept); n > 0 {
		data.defect(event.DefectSkipReasons, strconv.Itoa(n)+" more")
		data.IngressSkipReasons = kept
	}
}

func (data *emailData) cutDefects(room int) {
	kept := fitting(data.Defects, room, ruler(jsonLen).defect)
	if n := len(data.Defects) - len(kept); n > 0 {
		data.Defects = kept
		data.defect(event.DefectDefects, strconv.Itoa(n)+" more")
	}
}

// cutReferences keeps the first, which names the thread, and the newest.
func (data *emailData) cutReferences(room int) {
	if len(data.References) == 0 {
		return
	}
	first, rest := data.References[:1], slices.Clone(data.References[1:])
	slices.Reverse(rest)
	length := func(s string) int { return jsonLen(s) + fieldOverhead }
	kept := slices.Clone(fitting(rest, room-length(first[0]), length))
	if n := len(rest) - len(kept); n > 0 {
		slices.Reverse(kept)
		data.References = append(slices.Clone(first), kept...)
		data.defect(event.DefectReferences, strconv.Itoa(n)+" left out")
	}
}

// cutFields bounds the JSON of the single fields: bound counts their bytes, of
// which escaping makes up to six each.
func (data *emailData) cutFields(key string) {
	cut := false
	for s, room := range data.singles() {
		if jsonLen(*s) > room {
			*s = clipJSON(*s, room)
			cut = true
		}
	}
	for _, id := range []*string{&data.ThreadID, &data.InReplyTo, &data.Recipient} {
		if jsonLen(*id) > maxNameBytes {
			*id = ""
			cut = true
		}
	}
	if jsonLen(data.ID) > maxNameBytes {
		data.ID = "imap-hash-" + key
		cut = true
	}
	if jsonLen(data.From.Email) > maxNameBytes {
		data.From.Email = parse.UnknownSender
		cut = true
	}
	if cut {
		data.defect(event.DefectFields, "to fit the broker")
	}
}

// singles yields the fields that may be shortened, with their room in JSON.
func (data *emailData) singles() iter.Seq2[*string, int] {
	return func(yield func(*string, int) bool) {
		ok := yield(&data.From.Name, 200) && yield(&data.Security, 100) &&
			yield(&data.Importance, 100) && yield(&data.Sensitivity, 100) && yield(&data.AutoSubmitted, 100) &&
			(data.IMAP == nil || yield(&data.IMAP.Folder, maxNameBytes))
		if b := data.Bounce; ok && b != nil {
			ok = yield(&b.FinalRecipient, 400) && yield(&b.Action, 100) && yield(&b.Status, 100) &&
				yield(&b.Diagnostic, 500) && yield(&b.OriginalMessageID, 400)
		}
		if c := data.Calendar; ok && c != nil {
			ok = yield(&c.Method, 100) && yield(&c.UID, 400)
		}
		if r := data.Reply; ok && r != nil {
			_ = yield(&r.Strategy, 100) && yield(&r.Confidence, 100)
		}
	}
}

func (data *emailData) cutRecipients(room int) {
	dropped := 0
	for _, list := range []*[]event.Address{&data.ReplyTo, &data.To, &data.Cc, &data.Bcc} {
		kept := fitting(*list, room, ruler(jsonLen).address)
		dropped += len(*list) - len(kept)
		for _, a := range kept {
			room -= ruler(jsonLen).address(a)
		}
		*list = kept
	}
	if dropped > 0 {
		data.defect(event.DefectRecipients, strconv.Itoa(dropped)+" left out")
	}
}

func (data *emailData) cutAttachments(room int) {
	for i := range data.Attachments {
		a := &data.Attachments[i]
		a.Name, a.ContentType = clipJSON(a.Name, 100), clipJSON(a.ContentType, 100)
	}
	kept := fitting(data.Attachments, room, ruler(jsonLen).attachment)
	data.defect(event.DefectAttachments, strconv.Itoa(len(data.Attachments)-len(kept))+" left out, names cut")
	data.Attachments = kept
}

func (data *emailData) cutSubject(room int) {
	if jsonLen(data.Subject) > room {
		data.defect(event.DefectSubject, strconv.Itoa(len(data.Subject))+" bytes")
		data.Subject = clipJSON(data.Subject, room)
	}
}

// fitting returns how much of the front of a list takes no more than room.
func fitting[T any](list []T, room int, length func(T) int) []T {
	for i, item := range list {
		if room -= length(item); room < 0 {
			return list[:i:i]
		}
	}
	return list
}

// clipJSON returns the longest front of s, in whole runes, that takes at most
// room bytes as a JSON string without its quotes.
func clipJSON(s string, room int) string {
	for i := 0; i < len(s); {
		_, width := utf8.DecodeRuneInString(s[i:])
		if room -= jsonLen(s[i : i+width]); room < 0 {
			return strings.Clone(s[:i])
		}
		i += width
	}
	return s
}

// clipHTML takes off a tag or a character reference that was cut in half.
func clipHTML(s string) string {
	if open := strings.LastIndexByte(s, '<'); open > strings.LastIndexByte(s, '>') {
		return s[:open]
	}
	if amp := strings.LastIndexByte(s, '&'); amp > len(s)-10 && amp > strings.LastIndexByte(s, ';') {
		return s[:amp]
	}
	return s
}
