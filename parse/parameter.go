package parse

import (
	"bytes"
	"strconv"
	"strings"
)

// maxParams is how many parameters of one field are kept, the pieces of
// RFC 2231 apart.
const maxParams = 100

// piece is one raw parameter before RFC 2231 pieces are joined.
type piece struct {
	name    string
	n       int  // number of the continuation, -1 for none
	encoded bool // value is percent-encoded
	value   []byte
}

func parseParams(v []byte) []param {
	if len(v) == 0 {
		return nil
	}
	var pieces []piece
	plain := 0
	for len(v) > 0 {
		v = bytes.TrimLeft(v, " \t;")
		eq := bytes.IndexAny(v, "=;")
		if eq < 0 {
			break
		}
		if v[eq] == ';' {
			v = v[eq+1:]
			continue
		}
		name := strings.ToLower(string(bytes.TrimSpace(v[:eq])))
		var value []byte
		value, v = paramValue(v[eq+1:])
		p := piece{name: name, n: -1, value: value}
		if bare, rest, ok := strings.Cut(name, "*"); ok {
			p.name = bare
			if strings.HasSuffix(rest, "*") || rest == "" {
				p.encoded = true
				rest = strings.TrimSuffix(rest, "*")
			}
			if n, err := strconv.Atoi(rest); err == nil && n >= 0 {
				p.n = n
			}
		}
		if p.n < 0 {
			plain++
		}
		if p.name != "" && (p.n >= 0 || plain <= maxParams) {
			pieces = append(pieces, p)
		}
	}
	return joinPieces(pieces)
}

// paramValue reads one value and returns what follows it.
func paramValue(v []byte) (value, rest []byte) {
	v = bytes.TrimLeft(v, " \t")
	if len(v) > 0 && v[0] == '"' {
		out := make([]byte, 0, 64)
		for i := 1; i < len(v); i++ {
			switch c := v[i]; {
			case c == '\\' && i+1 < len(v) && (v[i+1] == '"' || v[i+1] == '\\'):
				i++
				out = append(out, v[i])
			case c == '"':
				rest = v[i+1:]
				if j := bytes.IndexByte(rest, ';'); j >= 0 {
					return out, rest[j+1:]
				}
				return out, nil
			default:
				out = append(out, c)
			}
		}
		// Never closed: the value ends at the next semicolon.
		v = v[1:]
	}
	if j := bytes.IndexByte(v, ';'); j >= 0 {
		value, rest = v[:j], v[j+1:]
	} else {
		value = v
	}
	return bytes.TrimSpace(value), rest
}

// joinPieces puts RFC 2231 continuations together in the order of their
// numbers, in time linear in their number.
func joinPieces(pieces []piece) []param {
	if len(pieces) == 0 {
		return nil
	}
	if len(pieces) == 1 && pieces[0].n < 0 && !pieces[0].encoded {
		return []param{{pieces[0].name, decodeWords(pieces[0].value, "")}}
	}
	type group struct {
		name       string
		plain, ext *piece
		segs       map[int]*piece
	}
	groups := map[string]*group{}
	var order []*group
	for i := range pieces {
		p := &pieces[i]
		g := groups[p.name]
		if g == nil {
			g = &group{name: p.name}
			groups[p.name] = g
			order = append(order, g)
		}
		switch {
		case p.n >= 0:
			if g.segs == nil {
				g.segs = map[int]*piece{}
			}
			if g.segs[p.n] == nil {
				g.segs[p.n] = p
			}
		case p.encoded:
			if g.ext == nil {
				g.ext = p
			}
		case g.plain == nil:
			g.plain = p
		}
	}
	out := make([]param, 0, len(order))
	for _, g := range order {
		switch {
		case g.segs != nil:
			out = append(out, param{g.name, joinSegments(g.segs)})
		case g.ext != nil:
			cs, text := splitExtended(g.ext.value)
			out = append(out, param{g.name, cleanString(decodeCharset(appendEscaped(nil, text, '%'), cs))})
		default:
			out = append(out, param{g.name, decodeWords(g.plain.value, "")})
		}
	}
	return out
}

func joinSegments(segs map[int]*piece) string {
	first := 0
	if segs[0] == nil {
		first = 1 // some mailers count from one
	}
	var b []byte
	cs := ""
	encoded := false
	for n := first; ; n++ {
		p := segs[n]
		if p == nil {
			break
		}
		v := p.value
		if p.encoded {
			if n == first {
				cs, v = splitExtended(v)
			}
			encoded = true
			b = appendEscaped(b, v, '%')
		} else {
			b = append(b, v...)
		}
	}
	if !encoded {
		return decodeWords(b, "")
	}
	return cleanString(decodeCharset(b, cs))
}

// splitExtended cuts charset'language'text.
func splitExtended(v []byte) (charset string, text []byte) {
	i := bytes.IndexByte(v, '\'')
	if i < 0 {
		return "", v
	}
	j := bytes.IndexByte(v[i+1:], '\'')
	if j < 0 {
		return "", v
	}
	return string(v[:i]), v[i+1+j+1:]
}
