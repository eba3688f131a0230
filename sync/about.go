package sync

import (
	"errors"
	"maps"

	"imapsync/event"
	"imapsync/internal/fault"
	"imapsync/secret"
)

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

// PausedFolder is the error of a folder that waits for a person: its reason is
// "unknown" when there are too many messages that nobody knows, else
// "renumbered".
func PausedFolder(folder, why string, renumbered int) error {
	reason := "unknown"
	if renumbered >= maxRenumbered {
		reason = "renumbered"
	}
	return fault.Newf(fault.Config, "folder_paused", "paused: %s", why).With("folder", folder).With("reason", reason)
}
