package oauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/oauth2"

	"imapsync/internal/fault"
	"imapsync/secret"
)

// Error is why there is no token. Code is a stable word: the server's own, such
// as invalid_grant, or one of ours.
type Error struct {
	Class      fault.Class // Transient: the server is away or asks for patience; Auth: somebody must sign in again; Ours: we gave up
	Code       string
	RetryAfter time.Duration // what the server asks for; 0: it does not say
	Err        error         // never carries a token or a secret
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the error beneath.
func (e *Error) Unwrap() error { return e.Err }

// ErrNotAuthorised says that nobody has signed in yet.
var ErrNotAuthorised = errors.New("nobody has signed in for this mailbox yet")

func wrong(code string, err error) error { return &Error{Class: fault.Config, Code: code, Err: err} }

// later are the codes by which servers ask for patience (RFC 6749 section
// 4.1.2.1, RFC 8628 section 3.5).
var later = map[string]bool{"temporarily_unavailable": true, "server_error": true, "slow_down": true}

// classify makes an Error of what x/oauth2 returned. Of a server's words only
// error and error_description are kept, without what secrets they may echo.
func (c *Client) classify(err error, hidden ...secret.Value) error {
	host := c.conf.Endpoint.TokenURL
	if u, parseErr := url.Parse(host); parseErr == nil {
		host = u.Host
	}
	if re, ok := errors.AsType[*oauth2.RetrieveError](err); ok && re.Response != nil {
		return c.refusal(host, re, hidden)
	}
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err // the URL around it says nothing more
	}
	class, code := fault.Transient, "token_endpoint"
	switch {
	case errors.Is(err, context.Canceled):
		class, code = fault.Ours, "cancelled"
	case errors.Is(err, context.DeadlineExceeded):
		code = "timeout"
	}
	return &Error{Class: class, Code: code, Err: fmt.Errorf("token endpoint %s: %w", host, &hiddenError{err, c.clean(err.Error(), hidden)})}
}

// hiddenError shows an error without secrets; errors.Is still finds what it is.
type hiddenError struct {
	err  error
	text string
}

func (e *hiddenError) Error() string { return e.text }
func (e *hiddenError) Unwrap() error { return e.err }

func (c *Client) refusal(host string, re *oauth2.RetrieveError, hidden []secret.Value) error {
	status := re.Response.StatusCode
	e := &Error{Class: fault.Config, Code: c.clean(re.ErrorCode, hidden), RetryAfter: retryAfter(re.Response.Header, time.Now())}
	text := cmp.Or(e.Code, strings.TrimSpace(fmt.Sprintf("%d %s", status, http.StatusText(status))))
	if d := c.clean(re.ErrorDescription, hidden); d != "" {
		text += ": " + d
	}
	switch {
	case status == http.StatusTooManyRequests:
		e.Class, e.Code = fault.Transient, "token_throttled" // it is not the mail server that is to be left alone
	case status >= http.StatusInternalServerError || status == http.StatusRequestTimeout:
		e.Class, e.Code = fault.Transient, "token_unavailable"
	case later[e.Code]:
		e.Class = fault.Transient
	case e.Code == "invalid_grant", e.Code == "invalid_client":
		e.Class = fault.Auth
	case e.Code == "":
		e.Code = "token_endpoint"
	}
	e.Err = fmt.Errorf("token endpoint %s: %s", host, text)
	return e
}

// maxText bounds what is kept of a server's words, in bytes.
const maxText = 400

// clean is text as it may be shown: on one line, bounded, without secrets.
func (c *Client) clean(text string, hidden []secret.Value) string {
	for _, list := range [][]secret.Value{c.secrets, hidden} {
		for _, v := range list {
			if s := v.Reveal(); s != "" {
				text = strings.NewReplacer(s, "[redacted]", url.QueryEscape(s), "[redacted]").Replace(text)
			}
		}
	}
	text = strings.ToValidUTF8(text, "")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
}

// maxRetryAfter bounds what a server may ask for.
const maxRetryAfter = 6 * time.Hour

// retryAfter reads the header of RFC 9110 section 10.2.3: seconds or a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if n, err := strconv.Atoi(text); err == nil {
		return max(0, min(time.Duration(min(n, 1<<20))*time.Second, maxRetryAfter))
	}
	if t, err := http.ParseTime(text); err == nil {
		return max(0, min(t.Sub(now), maxRetryAfter))
	}
	return 0
}
