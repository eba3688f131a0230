package parse

import (
	"strconv"
	"strings"
	"time"
)

// zones are the names that RFC 5322 section 4.3 and old mailers use; a name
// that is not here counts as UTC, as the RFC asks.
var zones = map[string]int{
	"UT": 0, "UTC": 0, "GMT": 0, "Z": 0, "WET": 0,
	"EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
	"AKST": -9, "AKDT": -8, "HST": -10, "AST": -4, "ADT": -3,
	"BST": 1, "CET": 1, "MET": 1, "MEZ": 1, "CEST": 2, "MEST": 2, "MESZ": 2, "EET": 2, "EEST": 3, "WEST": 1,
	"MSK": 3, "MSD": 4, "JST": 9, "KST": 9, "HKT": 8, "SGT": 8, "AEST": 10, "AEDT": 11, "NZST": 12, "NZDT": 13,
}

// parseDate reads a Date header as mail really writes it: obsolete zones,
// two-digit years, no seconds, a wrong weekday, comments, ISO 8601, numeric
// dates. ok is false when no day can be read.
func parseDate(s string) (t time.Time, ok bool) {
	s = strings.TrimSpace(stripComments(s))
	if len(s) > 200 {
		s = s[:200]
	}
	if t, ok := isoDate(s); ok {
		return t, true
	}
	d := dateParts{day: -1, month: -1, year: -1, hour: -1}
	for tok := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' || r == '\r' || r == '\n' }) {
		d.take(tok)
	}
	return d.time()
}

type dateParts struct {
	day, month, year, hour, min, sec int
	yearDigits                       int
	zone                             int // seconds east
	zoned                            bool
	pm, am                           bool
}

func (d *dateParts) take(tok string) {
	switch c := tok[0]; {
	case strings.Contains(tok, ":") && c >= '0' && c <= '9' && d.hour < 0:
		d.clock(tok)
	case (c == '+' || c == '-') && len(tok) > 2 && isDigits(strings.ReplaceAll(tok[1:], ":", "")):
		if d.hour >= 0 {
			d.offset(tok)
		}
	case c >= '0' && c <= '9':
		d.number(tok)
	default:
		d.name(tok)
	}
}

func (d *dateParts) clock(tok string) {
	if i := strings.IndexAny(tok, "+-"); i > 0 {
		d.clock(tok[:i])
		d.offset(tok[i:])
		return
	}
	if i := strings.IndexFunc(tok, func(r rune) bool { return r >= 'A' && r <= 'z' }); i > 0 {
		d.clock(tok[:i])
		d.name(tok[i:])
		return
	}
	f := strings.Split(tok, ":")
	v := [3]int{}
	for i := range min(3, len(f)) {
		digits, _, _ := strings.Cut(f[i], ".")
		n, err := strconv.Atoi(digits)
		if err != nil || n < 0 || n > 60 {
			return
		}
		v[i] = n
	}
	if v[0] > 24 {
		return
	}
	d.hour, d.min, d.sec = v[0], v[1], v[2]
}

// offset reads +hhmm, +hh:mm, +hh or +hmm.
func (d *dateParts) offset(tok string) {
	if d.zoned {
		return
	}
	digits := strings.ReplaceAll(tok[1:], ":", "")
	n, err := strconv.Atoi(digits)
	h, m := n/100, n%100
	if len(digits) <= 2 {
		h, m = n, 0
	}
	if err != nil || n < 0 || h > 24 {
		return
	}
	d.zone, d.zoned = h*3600+m*60, true
	if tok[0] == '-' {
		d.zone = -d.zone
	}
}

func (d *dateParts) number(tok string) {
	if strings.ContainsAny(tok, "-/.") {
		f := strings.FieldsFunc(tok, func(r rune) bool { return strings.ContainsRune("-/.", r) })
		if len(f) == 3 && d.day < 0 {
			d.joined(f)
			return
		}
	}
	n, err := strconv.Atoi(strings.TrimRight(tok, "."))
	if err != nil || n < 0 {
		tok = strings.TrimRight(tok, "stndrh") // 1st, 2nd
		if n, err = strconv.Atoi(tok); err != nil {
			return
		}
	}
	switch {
	case d.day < 0 && len(tok) <= 3 && n >= 1 && n <= 31:
		d.day = n
	case d.year < 0 && (d.month >= 0 || len(tok) == 4):
		d.year, d.yearDigits = n, len(tok)
	}
}

// joined reads 01-Jan-2003, 2003-01-31, 01-31-2003 and 31/01/2003.
func (d *dateParts) joined(f []string) {
	first, err1 := strconv.Atoi(f[0])
	last, err2 := strconv.Atoi(f[2])
	middle, err := monthOf(f[1]), error(nil)
	named := middle > 0
	if !named {
		middle, err = strconv.Atoi(f[1])
	}
	switch {
	case err1 != nil || err2 != nil || err != nil:
	case len(f[0]) == 4:
		d.year, d.yearDigits, d.month, d.day = first, 4, middle, last
	case named || first > 12:
		d.day, d.month, d.year, d.yearDigits = first, middle, last, len(f[2])
	default:
		d.month, d.day, d.year, d.yearDigits = first, middle, last, len(f[2])
	}
}

func (d *dateParts) name(tok string) {
	if m := monthOf(tok); m > 0 && d.month < 0 {
		d.month = m
		return
	}
	up := strings.ToUpper(strings.Trim(tok, ".\"'"))
	h, known := zones[up]
	switch i := strings.IndexAny(up, "+-"); {
	case up == "AM":
		d.am = true
	case up == "PM":
		d.pm = true
	case d.hour < 0 || d.zoned:
	case i > 0 && isDigits(strings.ReplaceAll(up[i+1:], ":", "")): // GMT+0200
		d.offset(up[i:])
	case known:
		d.zone, d.zoned = h*3600, true
	}
}

func (d *dateParts) time() (time.Time, bool) {
	if d.day < 1 || d.month < 1 || d.month > 12 || d.year < 0 || d.day > 31 {
		return time.Time{}, false
	}
	switch {
	case d.yearDigits <= 2 && d.year < 50:
		d.year += 2000
	case d.yearDigits <= 3:
		d.year += 1900
	}
	if d.year < 1 || d.year > 9999 {
		return time.Time{}, false
	}
	if d.pm && d.hour >= 0 && d.hour < 12 {
		d.hour += 12
	} else if d.am && d.hour == 12 {
		d.hour = 0
	}
	t := time.Date(d.year, time.Month(d.month), d.day, max(d.hour, 0), d.min, d.sec, 0, time.UTC).Add(-time.Duration(d.zone) * time.Second)
	if y := t.Year(); y < 1 || y > 9999 {
		return time.Time{}, false
	}
	return t, true
}

func isoDate(s string) (time.Time, bool) {
	if len(s) < 10 || s[4] != '-' || s[7] != '-' {
		return time.Time{}, false
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05-07:00", "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), t.Year() > 0
		}
	}
	return time.Time{}, false
}

// monthOf reads an English month by its first three letters; 0 for none.
func monthOf(s string) int {
	i := strings.Index("janfebmaraprmayjunjulaugsepoctnovdec", strings.ToLower(s[:min(3, len(s))]))
	if len(s) < 3 || i%3 != 0 {
		return 0
	}
	return i/3 + 1
}
