package sync

import (
	"errors"
	"fmt"
	"maps"

	"imapsync/db"
	"imapsync/event"
	"imapsync/internal/fault"
	"imapsync/internal/imapsession"
	"imapsync/oauth"
	"imapsync/publish"
	"imapsync/secret"
)

func transient(code string, err error) error { return fault.New(fault.Transient, code, err) }
func config(code string, err error) error    { return fault.New(fault.Config, code, err) }

// sentinels classes the errors of the packages below that a pass may meet.
var sentinels = fault.Table{
	{Sentinel: db.ErrStatement, Class: fault.Bug, Code: "sql"},
	{Sentinel: ErrStopped, Class: fault.Ours, Code: "stopped"},
	{Sentinel: db.ErrFenced, Class: fault.Ours, Code: "fenced"},
	{Sentinel: errLockLost, Class: fault.Ours, Code: "lock_lost"},
	{Sentinel: db.ErrUnreachable, Class: fault.Ours, Code: "postgres"},
	{Sentinel: db.ErrServer, Class: fault.Ours, Code: "postgres"},
	{Sentinel: db.ErrReadOnly, Class: fault.Ours, Code: "postgres_read_only"},
	{Sentinel: db.ErrConfig, Class: fault.Ours, Code: "database_url"},
	{Sentinel: event.ErrUnreachable, Class: fault.Ours, Code: "nats"},
	{Sentinel: event.ErrTimeout, Class: fault.Ours, Code: "nats"},
	{Sentinel: publish.ErrStreamFull, Class: fault.Ours, Code: "stream_full"},
	{Sentinel: publish.ErrGone, Class: fault.Ours, Code: "stream_gone"},
	{Sentinel: event.ErrStream, Class: fault.Ours, Code: "stream"},
	{Sentinel: event.ErrNoJetStream, Class: fault.Ours, Code: "stream"},
	{Sentinel: event.ErrConfig, Class: fault.Ours, Code: "stream"},
	{Sentinel: secret.ErrUnavailable, Class: fault.Ours, Code: "secret_unavailable"},
	{Sentinel: secret.ErrAbsent, Class: fault.Config, Code: "secret"},
	{Sentinel: secret.ErrSettings, Class: fault.Config, Code: "secret"},
	{Sentinel: db.ErrNotFound, Class: fault.Config, Code: "secret"},
	{Sentinel: secret.ErrUnknownKey, Class: fault.Config, Code: "secret"},
	{Sentinel: secret.ErrNotAuthentic, Class: fault.Config, Code: "secret"},
	{Sentinel: secret.ErrEnvelope, Class: fault.Config, Code: "secret"},
	{Sentinel: secret.ErrMode, Class: fault.Config, Code: "secret"},
}

// Classify gives the class and the code of any error of a pass.
func Classify(err error) (fault.Class, string) {
	if e, ok := fault.Of(err); ok {
		return e.Class, e.Code
	}
	if e, ok := errors.AsType[*oauth.Error](err); ok {
		return e.Class, e.Code
	}
	if row, ok := sentinels.Find(err); ok {
		return row.Class, row.Code
	}
	return imapsession.Classify(err)
}

// isOurs reports whether an error is of our own side, so that no mailbox is charged
// with it.
func isOurs(err error) bool {
	class, _ := Classify(err)
	return class == fault.Ours || systemic(err) || errors.Is(err, db.ErrFenced)
}

// Stopped reports whether an error says no more than that the work was told to stop.
func Stopped(err error) bool {
	_, code := Classify(err)
	return code == "stopped" || code == "cancelled"
}

// IsBug reports whether an error is a mistake of this program's, or one of several
// that were joined is.
func IsBug(err error) bool {
	class, _ := Classify(err)
	return class == fault.Bug || errors.Is(err, db.ErrStatement) || fault.Has(err, fault.Bug)
}

// systemic reports whether the error is about Postgres or NATS, so that every
// other provider would meet it too and the run must stop.
func systemic(err error) bool {
	return errors.Is(err, db.ErrUnreachable) || errors.Is(err, db.ErrReadOnly) || errors.Is(err, db.ErrConfig) ||
		errors.Is(err, event.ErrUnreachable) || errors.Is(err, publish.ErrStreamFull) || errors.Is(err, publish.ErrGone) || errors.Is(err, event.ErrStream) ||
		errors.Is(err, event.ErrNoJetStream) || errors.Is(err, event.ErrTimeout) || errors.Is(err, event.ErrConfig)
}

// CredentialError classes what went wrong before anybody was spoken to: it is
// about the credential, unless it is known to be about something else.
func CredentialError(err error) error {
	_, token := errors.AsType[*oauth.Error](err)
	if token || isOurs(err) || errors.Is(err, db.ErrStatement) || fault.Has(err, fault.Bug) {
		return err
	}
	return config("secret", fmt.Errorf("credential: %w", err))
}

// reasons tell errors of one code apart, for who words them.
var reasons = []struct {
	sentinel error
	reason   string
}{
	{secret.ErrAbsent, "absent"},
	{secret.ErrUnknownKey, "unknown_key"},
	{secret.ErrNotAuthentic, "unreadable"},
	{secret.ErrEnvelope, "unreadable"},
	{secret.ErrSettings, "settings"},
	{secret.ErrUnavailable, "unavailable"},
	{secret.ErrMode, "mode"},
	{secret.ErrDirectory, "directory"},
	{secret.ErrSealed, "sealed"},
	{event.ErrConfig, "nats_url"},
	{event.ErrNoJetStream, "no_jetstream"},
}

// About is what a face needs to find its words for an error of a pass.
func About(err error) fault.About {
	about := fault.About{Params: map[string]string{}}
	about.Class, about.Code = Classify(err)
	if e, ok := fault.Of(err); ok {
		maps.Copy(about.Params, e.Params)
	}
	if file, ok := errors.AsType[*secret.FileError](err); ok {
		about.Params["path"] = file.Path
	}
	if reason := about.Params["reason"]; reason != "" {
		about.Facts = append(about.Facts, reason)
	}
	for _, r := range reasons {
		if errors.Is(err, r.sentinel) {
			about.Facts = append(about.Facts, r.reason)
		}
	}
	return about
}

// ErrUnstable is what there is to say of a folder whose numbering never holds.
var ErrUnstable = fault.Newf(fault.Config, "folder_unstable",
	"the server numbers the folder anew at each visit, so it is read slowly, by headers")

// HeldMail is what there is to say of a folder that holds old messages which nobody
// knows, for a person to decide about.
func HeldMail(folder string, messages int64) error {
	return fault.Newf(fault.Config, "mail_held",
		"%d unknown messages are older than the first look at the folder and are held", messages).With("folder", folder)
}
