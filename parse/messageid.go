package parse

import "strings"

// maxReferences is how many ids of a long thread are kept.
const maxReferences = 100

// messageIDs reads the msg-ids of a field (RFC 5322 section 3.6.4): those in
// angle brackets, else the words that look like one.
func messageIDs(v string, most int) []string {
	var ids []string
	if strings.IndexByte(v, '<') >= 0 {
		for {
			i := strings.IndexByte(v, '<')
			if i < 0 || len(ids) >= most {
				return ids
			}
			v = v[i+1:]
			end := strings.IndexAny(v, "<>")
			if end < 0 {
				end = len(v)
			}
			if id := cleanID(v[:end]); id != "" {
				ids = append(ids, id)
			}
			v = v[end:]
		}
	}
	for w := range strings.FieldsSeq(v) {
		if len(ids) >= most {
			break
		}
		if w = cleanID(strings.Trim(w, ",;")); strings.IndexByte(w, '@') > 0 {
			ids = append(ids, w)
		}
	}
	return ids
}

// messageID reads a Message-ID: what stands in the first angle brackets, else
// the whole value.
func messageID(v string) string {
	if ids := messageIDs(v, 1); len(ids) > 0 && strings.IndexByte(v, '<') >= 0 {
		return ids[0]
	}
	return cleanID(v)
}

// cleanID strips brackets, blanks and controls.
func cleanID(s string) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f || r == '<' || r == '>' {
			return -1
		}
		return r
	}, s)
	return shorten(s, 998)
}

// dedupe drops repeated ids and caps the list, keeping the first, which names
// the thread, and the newest, which stand last.
func dedupe(ids []string) []string {
	if len(ids) > 1 {
		seen := make(map[string]bool, len(ids))
		out := ids[:0]
		for _, id := range ids {
			if !seen[id] {
				seen[id] = true
				out = append(out, id)
			}
		}
		ids = out
	}
	if len(ids) > maxReferences {
		ids = append(ids[:1], ids[len(ids)-maxReferences+1:]...)
	}
	return ids
}
