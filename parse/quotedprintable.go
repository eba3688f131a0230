package parse

import "bytes"

// stepQuotedPrintable decodes RFC 2045 section 6.7. What is no valid escape
// stands for itself; blanks before a line end are kept, as most mailers mean
// them.
func stepQuotedPrintable(dst, src []byte, last bool) ([]byte, int) {
	if !last {
		if i := bytes.LastIndexByte(src, '\n'); i >= 0 {
			src = src[:i+1]
		} else if i := bytes.LastIndexByte(src, '='); i > len(src)-4 && i > 0 {
			src = src[:i]
		}
	}
	used := len(src)
	for len(src) > 0 {
		line, end := src, 0
		if i := bytes.IndexByte(src, '\n'); i >= 0 {
			line, end = src[:i], 1
			src = src[i+1:]
		} else {
			src = nil
		}
		if end == 1 && len(line) > 0 && line[len(line)-1] == '\r' {
			line, end = line[:len(line)-1], 2
		}
		if end > 0 && bytes.IndexByte(line, '=') >= 0 {
			if soft := bytes.TrimRight(line, " \t"); soft[len(soft)-1] == '=' {
				line = soft
			}
		}
		for {
			i := bytes.IndexByte(line, '=')
			if i < 0 {
				dst = append(dst, line...)
				break
			}
			dst = append(dst, line[:i]...)
			line = line[i:]
			if len(line) >= 3 {
				if hi, lo := unhex(line[1]), unhex(line[2]); hi < 16 && lo < 16 {
					dst = append(dst, hi<<4|lo)
					line = line[3:]
					continue
				}
			}
			if len(line) == 1 { // soft line break
				end = 0
				break
			}
			dst = append(dst, '=')
			line = line[1:]
		}
		switch end {
		case 1:
			dst = append(dst, '\n')
		case 2:
			dst = append(dst, '\r', '\n')
		}
	}
	return dst, used
}
