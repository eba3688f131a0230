package main

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"imapsync/parse"
)

// result is one line of the results file: what parse read, in the terms of
// the corpus's checker.
type result struct {
	Path        string       `json:"path"`
	OK          bool         `json:"ok"`
	Subject     string       `json:"subject"`
	From        string       `json:"from"`
	To          []string     `json:"to"`
	DateUnix    *int64       `json:"date_unix"`
	Text        string       `json:"text"`
	HTML        string       `json:"html"`
	Attachments []attachment `json:"attachments"`

	defects   []parse.Defect
	tnef      bool // carries a winmail.dat
	uuencoded bool
}

type attachment struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// read parses one mail. Text made from HTML is left out, as the checker asks.
func read(path string, raw []byte) result {
	m := parse.Parse(raw, parse.Limits{SkipHTMLText: true, SkipReply: true})
	r := result{Path: path, OK: true, Subject: m.Subject, From: m.From.Email, Text: m.Text, HTML: m.HTML,
		To: []string{}, Attachments: []attachment{}, defects: m.Defects}
	if r.From == parse.UnknownSender {
		r.From = m.FromLiteral
	}
	for _, a := range m.To {
		r.To = append(r.To, a.Email)
	}
	if !m.Date.IsZero() {
		r.DateUnix = new(m.Date.Unix())
	}
	for _, a := range m.Attachments {
		h := sha256.New()
		n, _ := io.Copy(h, a.Open())
		r.Attachments = append(r.Attachments, attachment{n, hex.EncodeToString(h.Sum(nil))})
	}
	lower := strings.ToLower(string(raw))
	r.tnef = strings.Contains(lower, "application/ms-tnef")
	r.uuencoded = strings.Contains(lower, "encoding: x-uu")
	return r
}

// alnumHash is the checker's form of a text: its letters and digits alone.
func alnumHash(s string) string {
	s = strings.ToLower(norm.NFKC.String(s))
	s = strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsNumber(r) {
			return r
		}
		return -1
	}, s)
	if s == "" {
		return ""
	}
	return shortHash(s)
}

func shortHash(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])[:16]
}

// squeeze drops blanks, as the checker does before it compares subjects.
func squeeze(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f || r == 0x200b || r == 0x200c || r == 0x200d || r == 0x2060 || r == 0xfeff || r == 0 {
			return -1
		}
		return r
	}, norm.NFC.String(s))
}

// bareAddress is the checker's form of an address.
func bareAddress(s string) string {
	return strings.ToLower(strings.Trim(strings.Trim(strings.TrimSpace(s), "<>"), `'"`))
}
