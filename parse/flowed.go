package parse

import "bytes"

// unflow joins the lines of format=flowed text that were broken for display
// only (RFC 3676 section 4), within each depth of quoting. delSp drops the
// blank before the break as well.
func unflow(b []byte, delSp bool) []byte {
	if bytes.IndexByte(b, ' ') < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	soft := false // the line before ended in a soft break
	depth := 0
	for line := range bytes.Lines(b) {
		line, ended := bytes.CutSuffix(line, []byte("\n"))
		d := 0
		for d < len(line) && line[d] == '>' {
			d++
		}
		text := line[d:]
		if len(text) > 0 && text[0] == ' ' { // stuffed
			text = text[1:]
		}
		switch {
		case soft && d == depth && !isSignatureMark(string(text)):
			if delSp {
				out = out[:len(out)-1]
			}
		default:
			if soft {
				out = append(out, '\n')
			}
			out = append(out, line[:d]...)
			if d > 0 && len(text) > 0 {
				out = append(out, ' ')
			}
		}
		out = append(out, text...)
		depth = d
		soft = ended && len(text) > 0 && text[len(text)-1] == ' ' && !bytes.Equal(text, []byte("-- "))
		if ended && !soft {
			out = append(out, '\n')
		}
	}
	if soft {
		out = append(out, '\n')
	}
	return out
}
