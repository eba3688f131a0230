package parse

import "bytes"

// yencDecoder decodes the lines between =ybegin and =yend (yEnc 1.3).
type yencDecoder struct{ begun, ended bool }

func (d *yencDecoder) line(dst, line []byte) []byte {
	switch {
	case d.ended || bytes.HasPrefix(line, []byte("=ypart ")):
	case bytes.HasPrefix(line, []byte("=ybegin ")):
		d.begun = true
	case !d.begun:
	case bytes.HasPrefix(line, []byte("=yend")):
		d.ended = true
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
	return dst
}
