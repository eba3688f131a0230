package web

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"imapsync/db"
	"imapsync/parse"
)

type quarantinePage struct {
	chrome

	Provider *db.Provider
	Message  *db.Quarantine
	Mail     *parse.Message // nil when it cannot be read
	MailErr  string
	Cut      bool // the text is longer
}

// maxPreview is how much of a mail's text is shown, bytes.
const maxPreview = 100_000

// onMessage answers by what handle does with a quarantined message of the provider
// in the path.
func (s *server) onMessage(handle func(w http.ResponseWriter, r *http.Request, p *db.Provider, q *db.Quarantine)) http.HandlerFunc {
	return s.onProvider(func(w http.ResponseWriter, r *http.Request, p *db.Provider) {
		var q *db.Quarantine
		err := db.ErrNotFound
		if id := r.PathValue("message"); isUUID(id) {
			q, err = s.store.FindQuarantine(r.Context(), id, p.Tenant)
		}
		if err == nil && q.ProviderID != p.ID {
			err = db.ErrNotFound
		}
		if err != nil {
			s.fail(w, r, err)
			return
		}
		handle(w, r, p, q)
	})
}

// raw reads the mail of a message, in bounded time.
func (s *server) raw(r *http.Request, q *db.Quarantine) ([]byte, error) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Minute)
	defer cancel()
	mail, err := s.openRaw(ctx, q)
	if err != nil {
		return nil, err
	}
	defer mail.Close()
	return io.ReadAll(mail)
}

func (s *server) quarantined(w http.ResponseWriter, r *http.Request, p *db.Provider, q *db.Quarantine) {
	page := quarantinePage{chrome: chrome{Title: "Quarantined message", Who: who(r)}, Provider: p, Message: q}
	raw, err := s.raw(r, q)
	if err != nil {
		page.MailErr = say(p, err, "")
	} else {
		page.Mail = parse.Parse(raw, parse.Limits{})
		if len(page.Mail.Text) > maxPreview {
			page.Mail.Text, page.Cut = cut(page.Mail.Text, maxPreview), true
		}
	}
	s.render(w, r, http.StatusOK, "quarantine.html", page)
}

// cut shortens text between two characters.
func cut(s string, n int) string {
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// framePolicy lets the HTML of a mail be looked at and do nothing: no script, no
// form, nothing loaded from anywhere, an origin of its own.
const framePolicy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'; sandbox"

// quarantinedHTML is what the frame of the preview shows.
func (s *server) quarantinedHTML(w http.ResponseWriter, r *http.Request, _ *db.Provider, q *db.Quarantine) {
	h := w.Header()
	raw, err := s.raw(r, q)
	if err != nil {
		h.Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusBadGateway)
		_, _ = w.Write([]byte("The mail cannot be read.")) // a browser that went away
		return
	}
	h.Del("X-Frame-Options") // the policy below says who may frame it
	h.Set("Content-Security-Policy", framePolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-DNS-Prefetch-Control", "off")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte(parse.Parse(raw, parse.Limits{}).HTML)) //nolint:gosec // G705: the policy lets it do nothing; the error is a browser that went away
}

// quarantinedRaw is the mail as it came, to be saved.
func (s *server) quarantinedRaw(w http.ResponseWriter, r *http.Request, p *db.Provider, q *db.Quarantine) {
	raw, err := s.raw(r, q)
	if err != nil {
		s.alert(w, r, http.StatusBadGateway, p, say(p, err, ""))
		return
	}
	h := w.Header()
	h.Set("Content-Type", "message/rfc822")
	h.Set("Content-Disposition", `attachment; filename="`+q.ID+`.eml"`)
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(raw) //nolint:gosec // G705: a download, which no browser shows; the error is a browser that went away
}

func (s *server) setQuarantine(w http.ResponseWriter, r *http.Request, p *db.Provider, q *db.Quarantine) {
	verb := r.PathValue("verb")
	state, ok := map[string]string{"retry": db.QuarantineRetry, "release": db.QuarantineReleased, "discard": db.QuarantineDiscarded}[verb]
	if !ok {
		s.fail(w, r, db.ErrNotFound)
		return
	}
	if err := s.mailboxes.SetQuarantine(r.Context(), q, state, who(r).Name); err != nil {
		s.alert(w, r, http.StatusUnprocessableEntity, p, say(p, err, ""))
		return
	}
	done(w, r, path(p, ""), verb)
}

func address(a parse.Address) string {
	if a.Name == "" {
		return a.Email
	}
	return a.Name + " <" + a.Email + ">"
}

func addresses(list []parse.Address) string {
	var texts []string
	for _, a := range list {
		texts = append(texts, address(a))
	}
	return strings.Join(texts, ", ")
}

func fileSize(at parse.Attachment) int64 {
	size, _ := io.Copy(io.Discard, at.Open()) // it never fails
	return size
}
