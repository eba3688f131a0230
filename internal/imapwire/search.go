package imapwire

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// startsSearch reports whether the next line is a SEARCH or an ESEARCH response, and
// skips to what follows the word if so: the end of its numbers may be megabytes away.
func (w *Conn) startsSearch() (word string, err error) {
	for {
		b := w.in[w.r:w.e]
		i := 0
		for i < len(b) && (b[i] == '*' && i == 0 || b[i] == ' ' && i > 0) {
			i++
		}
		rest := b[i:]
		if word = "SEARCH"; len(rest) > 0 && rest[0]|0x20 == 'e' {
			word = "ESEARCH"
		}
		switch {
		case i == 1 && len(rest) > 0, i > 64:
			return "", nil
		case len(rest) > len(word):
			c := rest[len(word)]
			if i == 0 || !fold(rest[:len(word)], word) || c != ' ' && c != '\r' && c != '\n' {
				return "", nil
			}
			w.r += i + len(word)
			return word, nil
		case len(rest) > 0 && (i == 0 || !fold(rest, word[:min(len(rest), len(word))])):
			return "", nil
		}
		if err := w.fill(); err != nil {
			return "", err
		}
	}
}

// search reads a SEARCH response (RFC 3501 section 7.2.5) number by number. Zero is no
// UID, and go-imap takes it for "*"; what exceeds 32 bits no command can ask for;
// 4294967295, which leaves no number for UIDNEXT, makes go-imap count for ever.
// Anything else that is no number may hide a UID, so it is an error.
func (w *Conn) search() error {
	w.nums, w.numsAt = w.nums[:0], 0
	size, most := 0, maxBlanks*w.lim.SearchNums
	w.searching(w.awaits("UID SEARCH"))
	defer w.searching(false)
	for {
		n, c, err := w.searchNumber()
		if err != nil {
			return err
		}
		if size++; size > most || !w.found(n, n) { // blanks without end
			return overLimitf("server sent a search response of more than %d numbers", w.lim.SearchNums)
		}
		switch c {
		case ' ', '\r', '\t':
			continue
		case '\n':
		case '(': // (MODSEQ n)
			if _, err := w.line(); err != nil {
				return unexpectedEOF(err)
			}
		default:
			w.r--
			line, _, _ := bytes.Cut(w.in[w.r:w.e], []byte("\n"))
			return w.protocolError("not a number in search response", line)
		}
		break
	}
	w.literal(false)
	w.weight.size += int64(size)
	w.mu.Lock()
	if c := w.awaited("UID SEARCH"); c != nil {
		c.listed, c.unlisted, c.found = true, false, c.found || len(w.nums) > 0
		w.weight.answer = true
	}
	w.mu.Unlock()
	w.emitSearch()
	return nil
}

// maxBlanks is how many places that may hold a number there may be for each that does:
// blanks without end, or numbers that are no UIDs, would cost as much as those that are.
const maxBlanks = 4

// searchNumber reads the digits that come next, which may be none, and the byte behind
// them.
func (w *Conn) searchNumber() (n uint64, end byte, err error) {
	for digits := 0; ; digits++ {
		if w.r == w.e {
			if err := w.fill(); err != nil {
				return 0, 0, unexpectedEOF(err)
			}
		}
		c := w.in[w.r]
		w.r++
		if c < '0' || c > '9' {
			return n, c, nil
		}
		if n <= 1<<32 {
			n = n*10 + uint64(c-'0')
		}
		if digits == 20 {
			return 0, 0, w.protocolError("number too long in search response", nil)
		}
	}
}

// found adds the UIDs of a range, and reports whether there is room for them.
func (w *Conn) found(first, last uint64) bool {
	first, last = max(1, min(first, last)), min(max(first, last), 1<<32-2)
	if first > last {
		return true
	}
	if last-first >= uint64(w.lim.SearchNums-len(w.nums)) {
		return false
	}
	for n := first; n <= last; n++ {
		w.nums = append(w.nums, uint32(n))
	}
	return true
}

// maxESearchHead bounds what stands before the numbers of an ESEARCH response.
const maxESearchHead = 1 << 10

// esearch reads an ESEARCH response (RFC 4731 section 3.1, RFC 9051 section 7.3.4),
// which is all that some servers answer, though nobody asked for it. The client is given
// a SEARCH response in its place: go-imap would forget what came before. Where it does
// not list what was found, or more than there can be, the search counts as not answered,
// unless a SEARCH response lists it.
func (w *Conn) esearch() error {
	w.nums, w.numsAt = w.nums[:0], 0
	for w.e-w.r < maxESearchHead && bytes.IndexByte(w.in[w.r:w.e], '\n') < 0 {
		if err := w.fill(); err != nil {
			return unexpectedEOF(err)
		}
	}
	head, _, _ := bytes.Cut(w.in[w.r:min(w.e, w.r+maxESearchHead)], []byte("\n"))
	d := &decoder{b: bytes.TrimRight(head, "\r")}
	tag, list, known := parseESearch(d)
	w.mu.Lock()
	c := w.searchOf(tag)
	wanted := c != nil && !c.found
	w.mu.Unlock()
	w.r += d.i
	if list && wanted {
		w.searching(true)
		defer w.searching(false)
		var err error
		if known, err = w.searchSet(); err != nil {
			return err
		}
	}
	line, err := w.line()
	if err == nil {
		err = w.drop(line) // a literal that nobody expects here
	}
	if err != nil || !wanted {
		return unexpectedEOF(err)
	}
	w.mu.Lock()
	if c := w.searchOf(tag); c != nil { // the commands may have moved meanwhile
		c.listed, c.unlisted, c.found = known, !known, known && len(w.nums) > 0
		w.weight.answer = known
	}
	if w.mu.Unlock(); known {
		w.emitSearch()
	} else {
		w.nums = w.nums[:0]
	}
	return nil
}

// parseESearch reads an ESEARCH response up to its numbers, if it lists any. Without, it
// is known that there are none only where nothing says otherwise. Numbers that are not
// UIDs are of no use.
func parseESearch(d *decoder) (tag string, list, known bool) {
	if _, _, literal := literalMark(d.b); literal {
		return "", false, false // what follows is on another line
	}
	if d.take('(') {
		d.str()
		s, _ := d.str()
		tag = string(s) // the buffer is read into again
		d.take(')')
	}
	uids, found := false, false
	for {
		item, ok := d.str()
		switch {
		case !ok:
			return tag, false, uids && !found
		case fold(item, "UID"):
			uids = true
			continue
		case fold(item, "ALL"):
			return tag, uids && d.peek() != 0, false
		}
		value := d.i
		if !d.skip() {
			return tag, false, false
		}
		found = found || !fold(item, "MODSEQ") && string(bytes.TrimSpace(d.b[value:d.i])) != "0"
	}
}

// searchSet reads the set of an ESEARCH response, and reports whether it is known what
// is in it. What follows it is left.
func (w *Conn) searchSet() (known bool, err error) {
	var first uint64
	open := false // behind "first:"
	known = true
	for range maxBlanks * w.lim.SearchNums {
		n, c, err := w.searchNumber()
		if err != nil {
			return false, err
		}
		switch {
		case n == 0:
			known = false
		case c == ':' && !open:
			first, open = n, true
			continue
		case open:
			known = w.found(first, n) && known
		default:
			known = w.found(n, n) && known
		}
		open = false
		if c != ',' {
			w.r--
			return known && (c == ' ' || c == '\r' || c == '\n'), nil
		}
		if !known {
			break // the rest of the line is of no use
		}
	}
	return false, nil
}

// searchOf is the search that an ESEARCH response answers: that of its tag, or if it has
// none, or one that nobody used, the one that is outstanding. Callers hold mu.
func (w *Conn) searchOf(tag string) *command {
	for i := range w.pending {
		if w.pending[i].name == "UID SEARCH" && strings.EqualFold(tag, w.pending[i].tag) {
			return &w.pending[i]
		}
	}
	if n := tagNumber([]byte(strings.ToUpper(tag))); n > 0 && n <= w.maxTag {
		return nil
	}
	return w.awaited("UID SEARCH")
}

// emitSearch writes a SEARCH response. The client's set takes quadratic time over
// numbers in disorder.
func (w *Conn) emitSearch() {
	if !slices.IsSorted(w.nums) {
		slices.Sort(w.nums)
	}
	w.nums = slices.Compact(w.nums)
	w.out = append(w.out, "* SEARCH"...)
	w.emitNums()
}

// emitNums writes some of the numbers of a SEARCH response.
func (w *Conn) emitNums() {
	for w.numsAt < len(w.nums) && len(w.out) < bufferSize {
		w.out = strconv.AppendUint(append(w.out, ' '), uint64(w.nums[w.numsAt]), 10)
		w.numsAt++
	}
	if w.numsAt == len(w.nums) {
		w.out = append(w.out, "\r\n"...)
		if cap(w.nums) > bufferSize {
			w.nums = nil
		}
	}
}
