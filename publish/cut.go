package publish

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"imapsync/event"
	"imapsync/parse"
)

// This file alone decides, by the length of its JSON, whether an event is too
// long, and what goes then.

const (
	// minBodyBytes is what is left of the bodies before anything else is cut.
	minBodyBytes = 32 * kib
	// cutReserve is kept for the defects and the raw blob that cutting adds.
	cutReserve = 4 * kib
)

// fit cuts an event to its limits. Bodies go first, down to TargetBytes, and
// stay whole in a blob. Only when that does not bring the event under
// EventBytes do the lists of the mail follow, each to a share of EventBytes
// such that all shares together fit; then the raw mail is kept as well. Each
// step leaves a defect.
func (m *Mail) fit(d Delivery, lim Limits) {
	if m.fits(lim.TargetBytes) {
		return
	}
	data := (*emailData)(&m.Payload.EmailData)
	inline := false
	for i := range data.Attachments {
		inline = inline || data.Attachments[i].Content != nil
		data.Attachments[i].Content = nil // it is in the blob, and only ever an extra
	}
	if inline && m.fits(lim.TargetBytes) {
		return
	}
	data.cutReply(lim.TargetBytes / 4)
	m.cutBodies(d, lim, lim.TargetBytes, minBodyBytes)
	if m.fits(lim.EventBytes) {
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
		func() { data.cutTexts(m.key) },
		func() { data.cutRecipients(e / 8) },
		func() { data.cutAttachments(e / 4) },
		func() { data.cutSubject(e / 32) },
	}
	for _, step := range steps {
		step()
		if m.fits(e - cutReserve) {
			return
		}
	}
	m.cutBodies(d, lim, e, 0)
	m.fits(e)
}

// fits reports whether the event's JSON is no longer than limit. The JSON is
// kept: of most mail it is what will be published.
func (m *Mail) fits(limit int) bool {
	m.json = nil
	if body := m.Payload.EmailData.Body; len(body.Text)+len(body.HTML) > limit {
		return false // no need to write what may be many times as long
	}
	m.json, _ = marshal(m.Event) // Publish says what is wrong with it
	return len(m.json) <= limit
}

// cutBodies cuts text and HTML so that the event meets target, but never below
// floor bytes of JSON together.
func (m *Mail) cutBodies(d Delivery, lim Limits, target, floor int) {
	rest := *m.Event
	rest.Payload.EmailData.Body.Text, rest.Payload.EmailData.Body.HTML = "", ""
	room := max(target-cutReserve-jsonSize(&rest), floor)
	body := &m.Payload.EmailData.Body
	text, html := jsonLen(body.Text, room), jsonLen(body.HTML, room)
	if text+html <= room {
		return
	}
	textRoom := max(room/2, room-html)
	if text > textRoom {
		whole := body.Text
		body.Text = clipJSON(whole, textRoom)
		body.TextBlob = m.truncated(body.TextBlob, d, lim, "text", whole)
		text = jsonLen(body.Text, room)
	}
	if htmlRoom := room - text; html > htmlRoom {
		whole := body.HTML
		body.HTML = clipHTML(clipJSON(whole, htmlRoom))
		body.HTMLBlob = m.truncated(body.HTMLBlob, d, lim, "html", whole)
	}
}

// truncated names the blob of a body that was cut, unless an earlier step did.
func (m *Mail) truncated(earlier *event.Blob, d Delivery, lim Limits, which, whole string) *event.Blob {
	if earlier != nil {
		return earlier
	}
	sum := sha256.Sum256([]byte(whole))
	(*emailData)(&m.Payload.EmailData).defect(event.DefectBodyTruncated, which+" of "+strconv.Itoa(len(whole))+" bytes")
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
		if room -= jsonSize(name) + jsonSize(data.Headers[name]) + len(":,"); room < 0 {
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
	if data.Reply != nil && jsonLen(data.Reply.Text, room) > room {
		data.defect(event.DefectReply, strconv.Itoa(len(data.Reply.Text))+" bytes")
		data.Reply.Text = clipJSON(data.Reply.Text, room)
	}
}

func (data *emailData) cutSkipReasons(room int) {
	kept, _ := fitting(data.IngressSkipReasons, room)
	if n := len(data.IngressSkipReasons) - len(kept); n > 0 {
		data.defect(event.DefectSkipReasons, strconv.Itoa(n)+" more")
		data.IngressSkipReasons = kept
	}
}

func (data *emailData) cutDefects(room int) {
	kept, _ := fitting(data.Defects, room)
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
	kept, _ := fitting(rest, room-jsonSize(first[0])-len(","))
	if n := len(rest) - len(kept); n > 0 {
		kept = slices.Clone(kept)
		slices.Reverse(kept)
		data.References = append(slices.Clone(first), kept...)
		data.defect(event.DefectReferences, strconv.Itoa(n)+" left out")
	}
}

// cutTexts bounds the JSON of the single texts: bound counts their bytes, of
// which escaping makes up to six each.
func (data *emailData) cutTexts(key string) {
	cut := false
	data.texts(func(s *string, most length) {
		if jsonLen(*s, most.json) > most.json {
			*s = shortened(*s, most, clipJSON(*s, most.json))
			cut = true
		}
	})
	if most := nameLength.bytes; jsonLen(data.ID, most) > most {
		data.ID = "imap-hash-" + key
		cut = true
	}
	if most := nameLength.bytes; jsonLen(data.From.Email, most) > most {
		data.From.Email = parse.UnknownSender
		cut = true
	}
	if cut {
		data.defect(event.DefectFields, "to fit the broker")
	}
}

func (data *emailData) cutRecipients(room int) {
	dropped := 0
	for _, list := range []*[]event.Address{&data.ReplyTo, &data.To, &data.Cc, &data.Bcc} {
		all := len(*list)
		*list, room = fitting(*list, room)
		dropped += all - len(*list)
	}
	if dropped > 0 {
		data.defect(event.DefectRecipients, strconv.Itoa(dropped)+" left out")
	}
}

func (data *emailData) cutAttachments(room int) {
	for i := range data.Attachments {
		a := &data.Attachments[i]
		a.Name, a.ContentType = clipJSON(a.Name, tokenLength.json), clipJSON(a.ContentType, tokenLength.json)
	}
	kept, _ := fitting(data.Attachments, room)
	data.defect(event.DefectAttachments, strconv.Itoa(len(data.Attachments)-len(kept))+" left out, names cut")
	data.Attachments = kept
}

func (data *emailData) cutSubject(room int) {
	if jsonLen(data.Subject, room) > room {
		data.defect(event.DefectSubject, strconv.Itoa(len(data.Subject))+" bytes")
		data.Subject = clipJSON(data.Subject, room)
	}
}

// fitting returns how much of the front of a list takes no more than room in
// JSON, and what it leaves of that.
func fitting[T any](list []T, room int) (kept []T, left int) {
	for i, item := range list {
		size := jsonSize(item) + len(",")
		if size > room {
			return list[:i:i], room
		}
		room -= size
	}
	return list, room
}

// jsonSize returns how long the JSON of v is, in bytes.
func jsonSize(v any) int {
	var n counter
	enc := json.NewEncoder(&n)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v)
	return int(n) - len("\n")
}

type counter int

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// jsonLen returns how long s is inside a JSON string, without the quotes; of one
// that is longer than limit as it stands, only that it is.
func jsonLen(s string, limit int) int {
	if len(s) > limit {
		return len(s)
	}
	return jsonSize(s) - len(`""`)
}

// clipJSON returns the longest front of s, in whole runes, that takes at most
// room bytes as a JSON string without its quotes.
func clipJSON(s string, room int) string {
	if jsonLen(s, room) <= room {
		return s
	}
	longest := clipped(s, room) // no byte takes less than one
	fit, over := 0, len(longest)+1
	for fit+1 < over { // fit bytes fit, over bytes do not
		middle := (fit + over) / 2
		if jsonLen(front(longest, middle), room) <= room {
			fit = middle
		} else {
			over = middle
		}
	}
	return clipped(longest, fit)
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
