package imapserver

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// set tells whether a set of UIDs has uid, where highest is what "*" stands for.
type set func(uid, highest uint32) bool

func parseSet(s string) (set, error) {
	type span struct{ from, to uint32 } // 0 is "*"
	var spans []span
	for part := range strings.SplitSeq(s, ",") {
		lo, hi, isRange := strings.Cut(part, ":")
		if !isRange {
			hi = lo
		}
		from, err := setNumber(lo)
		if err != nil {
			return nil, err
		}
		to, err := setNumber(hi)
		if err != nil {
			return nil, err
		}
		spans = append(spans, span{from, to})
	}
	return func(uid, highest uint32) bool {
		for _, sp := range spans {
			if sp.from == 0 {
				sp.from = highest
			}
			if sp.to == 0 {
				sp.to = highest
			}
			if min(sp.from, sp.to) <= uid && uid <= max(sp.from, sp.to) {
				return true
			}
		}
		return false
	}, nil
}

// setNumber reads a number of a set; 0 is "*".
func setNumber(s string) (uint32, error) {
	if s == "*" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("no number in a set: %q", s)
	}
	return uint32(n), nil
}

// key is a search key (RFC 3501 section 6.4.4).
type key func(m Message, highest uint32) bool

func parseSearch(s string) (key, error) {
	var all []key
	for {
		s = strings.TrimLeft(s, " ")
		if s == "" || s[0] == ')' {
			break
		}
		k, rest, err := parseKey(s)
		if err != nil {
			return nil, err
		}
		all, s = append(all, k), rest
	}
	if len(all) == 0 {
		return nil, errors.New("empty search")
	}
	return func(m Message, highest uint32) bool {
		for _, k := range all {
			if !k(m, highest) {
				return false
			}
		}
		return true
	}, nil
}

func parseKey(s string) (key, string, error) {
	s = strings.TrimLeft(s, " ")
	if strings.HasPrefix(s, "(") {
		depth := 0
		for i := range s {
			switch s[i] {
			case '(':
				depth++
			case ')':
				if depth--; depth == 0 {
					k, err := parseSearch(s[1:i])
					return k, s[i+1:], err
				}
			}
		}
		return nil, "", errors.New("parenthesis not closed")
	}
	word, rest, _ := strings.Cut(s, " ")
	switch up := strings.ToUpper(word); up {
	case "ALL":
		return func(Message, uint32) bool { return true }, rest, nil
	case "SEEN":
		return func(m Message, _ uint32) bool { return m.Seen }, rest, nil
	case "UNSEEN", "NEW":
		return func(m Message, _ uint32) bool { return !m.Seen }, rest, nil
	case "DELETED":
		return func(Message, uint32) bool { return false }, rest, nil
	case "UNDELETED":
		return func(Message, uint32) bool { return true }, rest, nil
	case "NOT":
		k, rest, err := parseKey(rest)
		return func(m Message, h uint32) bool { return !k(m, h) }, rest, err
	case "OR":
		a, rest, err := parseKey(rest)
		if err != nil {
			return nil, "", err
		}
		b, rest, err := parseKey(rest)
		return func(m Message, h uint32) bool { return a(m, h) || b(m, h) }, rest, err
	case "UID":
		arg, rest, _ := strings.Cut(rest, " ")
		in, err := parseSet(arg)
		return func(m Message, h uint32) bool { return in(m.UID, h) }, rest, err
	case "SINCE", "BEFORE", "ON":
		arg, rest, _ := cutString(rest)
		day, err := time.Parse("2-Jan-2006", arg)
		if err != nil {
			return nil, "", errors.New("no date")
		}
		return func(m Message, _ uint32) bool {
			y, mon, d := m.Date.Date() // the date alone counts, the zone does not
			got := time.Date(y, mon, d, 0, 0, 0, 0, time.UTC)
			switch up {
			case "SINCE":
				return !got.Before(day)
			case "BEFORE":
				return got.Before(day)
			}
			return got.Equal(day)
		}, rest, nil
	case "LARGER", "SMALLER":
		arg, rest, _ := strings.Cut(rest, " ")
		n, err := strconv.Atoi(arg)
		return func(m Message, _ uint32) bool {
			if up == "LARGER" {
				return len(m.Raw) > n
			}
			return len(m.Raw) < n
		}, rest, err
	case "HEADER":
		name, rest, _ := cutString(rest)
		value, rest, _ := cutString(rest)
		return func(m Message, _ uint32) bool {
			for line := range strings.SplitSeq(string(header(m.Raw)), "\r\n") {
				n, v, ok := strings.Cut(line, ":")
				if ok && strings.EqualFold(n, name) && strings.Contains(strings.ToLower(v), strings.ToLower(value)) {
					return true
				}
			}
			return false
		}, rest, nil
	}
	return nil, "", fmt.Errorf("search key %q unknown", word)
}

// header is the header of a mail with the empty line.
func header(raw []byte) []byte {
	if i := bytes.Index(raw, []byte("\r\n\r\n")); i >= 0 {
		return raw[:i+4]
	}
	return raw
}

// parseSection finds BODY[section]<offset.count> among fetch items, in upper case.
func parseSection(items string) (section string, offset, count int, ok bool) {
	_, after, ok := strings.Cut(items, "BODY.PEEK[")
	if !ok {
		if _, after, ok = strings.Cut(items, "BODY["); !ok {
			return "", 0, 0, false
		}
	}
	section, rest, _ := strings.Cut(after, "]")
	offset = -1
	if strings.HasPrefix(rest, "<") {
		if _, err := fmt.Sscanf(rest, "<%d.%d>", &offset, &count); err != nil {
			offset = -1
		}
	}
	return section, offset, count, true
}

// cutSection is a section of a mail, with the label that goes before it.
func cutSection(raw []byte, section string, offset, count int) (label string, data []byte) {
	label, data = "BODY["+section+"]", raw
	word, list, _ := strings.Cut(section, " ")
	switch word {
	case "HEADER":
		data = header(raw)
	case "TEXT":
		data = raw[len(header(raw)):]
	case "HEADER.FIELDS":
		data = nil
		names := strings.Fields(strings.NewReplacer("(", "", ")", "", `"`, "").Replace(list))
		keep := false
		for line := range strings.SplitAfterSeq(string(header(raw)), "\r\n") {
			if name, _, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, " ") && !strings.HasPrefix(line, "\t") {
				keep = false
				for _, n := range names {
					keep = keep || strings.EqualFold(n, name)
				}
			}
			if keep || line == "\r\n" {
				data = append(data, line...)
			}
		}
	}
	if offset >= 0 {
		label += fmt.Sprintf("<%d>", offset)
		data = data[min(offset, len(data)):]
		data = data[:min(count, len(data))]
	}
	return label, data
}
