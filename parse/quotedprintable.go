package parse

import "bytes"

// stepQuotedPrintable decodes RFC 2045 section 6.7. What is no valid escape
// stands for itself; blanks before a line end are kept, as most mailers mean
// them.
func stepQuotedPrintable(dst, src []byte, last bool) ([]byte, int) {
	src = wholeLines(src, last)
	if i := bytes.LastIndexByte(src, '='); !last && src[len(src)-1] != '\n' && i > len(src)-4 && i > 0 {
		src = src[:i] // not through an escape
	}
	for line := range bytes.Lines(src) {
		text, ended := bytes.CutSuffix(line, []byte("\n"))
		if ended {
			text = bytes.TrimSuffix(text, []byte("\r"))
		}
		end := line[len(text):]
		if soft := bytes.TrimRight(text, " \t"); ended && bytes.HasSuffix(soft, []byte("=")) {
			text = soft
		}
		for {
			i := bytes.IndexByte(text, '=')
			if i < 0 {
				dst = append(dst, text...)
				break
			}
			dst = append(dst, text[:i]...)
			text = text[i:]
			if len(text) >= 3 {
				if hi, lo := unhex(text[1]), unhex(text[2]); hi < 16 && lo < 16 {
					dst = append(dst, hi<<4|lo)
					text = text[3:]
					continue
				}
			}
			if len(text) == 1 { // soft line break
				end = nil
				break
			}
			dst = append(dst, '=')
			text = text[1:]
		}
		dst = append(dst, end...)
	}
	return dst, len(src)
}
