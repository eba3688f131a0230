package parse

import (
	"bytes"
	"strings"
)

// uuDecoder decodes the lines between "begin" and "end" (POSIX uuencode).
type uuDecoder struct{ begun, ended bool }

func (d *uuDecoder) line(dst, line []byte) []byte {
	switch {
	case d.ended:
	case !d.begun:
		_, d.begun = uuBegin(line)
	case len(line) == 0 || bytes.Equal(line, []byte("end")):
		d.ended = len(line) > 0
	default:
		return uuLine(dst, line)
	}
	return dst
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
