package parse

import (
	"bytes"
	"strings"
)

// classify sets what the mail is besides what it says: automatic, a bounce, from
// a list, important, private, invitation, signed or encrypted.
func classify(m *Message, root *part, c *content) {
	h := root.head
	m.Importance = importance(h)
	m.Sensitivity = sensitivity(h)
	m.IsList = isList(h)
	m.Recipient = recipient(h)
	m.Bounce = readBounce(root, c)
	m.IsBounce = isBounce(m, root)
	m.AutoSubmitted, m.AutoSubmittedConfidence = autoSubmitted(m, h)
	m.Calendar = readCalendar(c)
	m.Security = security(root, c)
}

// token is the first word of a field in lower case.
func (f fields) token(name string) string { return token(string(f.get(name))) }

func importance(h fields) string {
	switch h.token("importance") {
	case "high", "urgent":
		return "high"
	case "low":
		return "low"
	case "normal", "medium":
		return "normal"
	}
	if v := h.get("x-priority"); len(v) > 0 {
		switch v[0] {
		case '1', '2':
			return "high"
		case '4', '5':
			return "low"
		}
	}
	for _, name := range []string{"x-msmail-priority", "priority"} {
		switch h.token(name) {
		case "high", "urgent", "highest":
			return "high"
		case "low", "non-urgent", "lowest":
			return "low"
		}
	}
	return "normal"
}

func sensitivity(h fields) string {
	switch v := strings.ToLower(strings.TrimSpace(string(h.get("sensitivity")))); v {
	case "personal", "private":
		return v
	case "company-confidential", "company confidential", "confidential":
		return "company-confidential"
	}
	return "normal"
}

func isList(h fields) bool {
	for _, name := range []string{"list-id", "list-post", "mailing-list", "x-mailing-list", "x-mailman-version", "x-google-group-id"} {
		if h.get(name) != nil {
			return true
		}
	}
	return h.token("precedence") == "list"
}

// recipient returns the address the mail was delivered to: what the sender
// wrote to before an alias was followed, if the server tells.
func recipient(h fields) string {
	for _, name := range []string{"x-original-to", "envelope-to", "x-envelope-to", "delivered-to", "x-delivered-to", "x-rcpt-to", "x-real-to"} {
		if v := h.get(name); v != nil {
			if list, _, _ := addressList(v, "", 1); len(list) > 0 {
				return list[0].Email
			}
		}
	}
	return ""
}

// security names the signature or encryption around the mail.
func security(root *part, c *content) string {
	p := root
	for depth := 0; p != nil && depth < 3; depth++ {
		protocol := strings.ToLower(p.typ.param("protocol"))
		switch {
		case p.typ.is("multipart", "encrypted"):
			return "pgp-encrypted"
		case p.typ.is("multipart", "signed") && strings.Contains(protocol, "pgp"):
			return "pgp-signed"
		case p.typ.is("multipart", "signed"):
			return "smime-signed"
		case p.typ.is("application", "pkcs7-mime") || p.typ.is("application", "x-pkcs7-mime"):
			if t := strings.ToLower(p.typ.param("smime-type")); t == "signed-data" || t == "certs-only" {
				return "smime-signed"
			}
			return "smime-encrypted"
		}
		if len(p.children) == 0 {
			break
		}
		p = p.children[0]
	}
	switch text := bytes.TrimLeft(c.text[:min(len(c.text), 4096)], " \n\t"); {
	case bytes.HasPrefix(text, []byte("-----BEGIN PGP MESSAGE-----")):
		return "pgp-encrypted"
	case bytes.HasPrefix(text, []byte("-----BEGIN PGP SIGNED MESSAGE-----")):
		return "pgp-signed"
	}
	return ""
}
