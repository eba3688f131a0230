package imapwire

import (
	"bytes"
	"slices"
	"strconv"
)

// startsSearch reports whether the next line is a SEARCH response, and skips to
// its numbers if so, whose end may be megabytes away.
func (w *Conn) startsSearch() (bool, error) {
	const word = "SEARCH"
	for {
		b := w.in[w.r:w.e]
		i := 0
		for i < len(b) && (b[i] == '*' && i == 0 || b[i] == ' ' && i > 0) {
			i++
		}
		rest := b[i:]
		switch {
		case i == 1 && len(rest) > 0, i > 64:
			return false, nil
		case len(rest) > len(word):
			c := rest[len(word)]
			if i == 0 || !fold(rest[:len(word)], word) || c != ' ' && c != '\r' && c != '\n' {
				return false, nil
			}
			w.r += i + len(word)
			return true, nil
		case len(rest) > 0 && (i == 0 || !fold(rest, word[:min(len(rest), len(word))])):
			return false, nil
		}
		if err := w.fill(); err != nil {
			return false, err
		}
	}
}

// search reads a SEARCH response (RFC 3501 section 7.2.5) number by number, then
// sorts: the client's set takes quadratic time over numbers in disorder. Zero is no
// UID, and go-imap takes it for "*"; what exceeds 32 bits no command can ask for;
// 4294967295, which leaves no number for UIDNEXT, makes go-imap count for ever.
// Anything else that is no number may hide a UID, so it is an error.
func (w *Conn) search() error {
	w.nums, w.numsAt = w.nums[:0], 0
	size, most := 0, 24*w.lim.SearchNums
	tooMany := func() error {
		return overLimitf("server sent a search response of more than %d numbers", w.lim.SearchNums)
	}
	var n uint64
	digits := 0
	for {
		b, err := w.some()
		if err != nil {
			return err
		}
		if size++; size > most { // blanks without end
			return tooMany()
		}
		c := b[0]
		if '0' <= c && c <= '9' {
			if digits++; n <= 1<<32 {
				n = n*10 + uint64(c-'0')
			}
			if digits > 20 {
				return w.protocolError("number too long in search response", nil)
			}
			w.r++
			continue
		}
		if digits > 0 && n > 0 && n < 1<<32-1 {
			if len(w.nums) >= w.lim.SearchNums {
				return tooMany()
			}
			w.nums = append(w.nums, uint32(n))
		}
		n, digits = 0, 0
		switch c {
		case ' ', '\r', '\t':
			w.r++
			continue
		case '\n':
			w.r++
		case '(': // (MODSEQ n)
			if _, err := w.line(); err != nil {
				return unexpectedEOF(err)
			}
		default:
			line, _, _ := bytes.Cut(w.in[w.r:w.e], []byte("\n"))
			return w.protocolError("not a number in search response", line)
		}
		break
	}
	w.literal(false)
	if !slices.IsSorted(w.nums) {
		slices.Sort(w.nums)
	}
	w.nums = slices.Compact(w.nums)
	w.out = append(w.out, "* SEARCH"...)
	w.emitNums()
	return nil
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
