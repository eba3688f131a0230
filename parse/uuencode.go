package parse

import (
	"bytes"
	"strings"
)

// uuState decodes uuencoded lines between "begin" and "end" (POSIX uuencode).
type uuState struct{ begun, ended bool }

func (s *uuState) step(dst, src []byte, last bool) ([]byte, int) {
	if !last {
		if i := bytes.LastIndexByte(src, '\n'); i >= 0 {
			src = src[:i+1]
		}
	}
	used := len(src)
	for line := range bytes.Lines(src) {
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case s.ended:
		case !s.begun:
			_, s.begun = uuBegin(line)
		case len(line) == 0 || bytes.Equal(line, []byte("end")):
			s.ended = len(line) > 0
		default:
			dst = uuLine(dst, line)
		}
	}
	return dst, used
}

// uuBegin reads "begin 644 name".
func uuBegin(line []byte) (name string, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte("begin "))
	if !ok {
		return "", false
	}
	mode, file, ok := strings.Cut(strings.TrimLeft(string(rest), " "), " ")
	if !ok || len(mode) < 3 || len(mode) > 4 || strings.Trim(mode, "01234567") != "" {
		return "", false
	}
	return strings.TrimSpace(file), true
}

func uuLine(dst, line []byte) []byte {
	want := int(line[0]-' ') & 63
	line = line[1:]
	for want > 0 && len(line) > 0 {
		var q [4]byte
		for i := range q {
			if i < len(line) {
				q[i] = (line[i] - ' ') & 63
			}
		}
		line = line[min(4, len(line)):]
		three := [3]byte{q[0]<<2 | q[1]>>4, q[1]<<4 | q[2]>>2, q[2]<<6 | q[3]}
		n := min(want, 3)
		dst = append(dst, three[:n]...)
		want -= n
	}
	return dst
}

// yencState decodes the lines between =ybegin and =yend (yEnc 1.3).
type yencState struct{ begun, ended bool }

func (s *yencState) step(dst, src []byte, last bool) ([]byte, int) {
	if !last {
		if i := bytes.LastIndexByte(src, '\n'); i >= 0 {
			src = src[:i+1]
		}
	}
	used := len(src)
	for line := range bytes.Lines(src) {
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case s.ended || bytes.HasPrefix(line, []byte("=ypart ")):
		case bytes.HasPrefix(line, []byte("=ybegin ")):
			s.begun = true
		case !s.begun:
		case bytes.HasPrefix(line, []byte("=yend")):
			s.ended = true
		default:
			for i := 0; i < len(line); i++ {
				c := line[i]
				if c == '=' && i+1 < len(line) {
					i++
					c = line[i] - 64
				}
				dst = append(dst, c-42)
			}
		}
	}
	return dst, used
}
