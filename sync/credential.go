package sync

import (
	"errors"
	"fmt"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/oauth"
	"imapsync/secret"
)

// oauthClass gives the class and the code of an error of package oauth.
func oauthClass(e *oauth.Error) (fault.Class, string) {
	switch e.Kind {
	case oauth.Refused:
		return fault.Auth, e.Code
	case oauth.Wrong:
		return fault.Config, e.Code
	case oauth.Unavailable:
	}
	if e.Code == "throttled" || e.Code == "unavailable" {
		return fault.Transient, "token_" + e.Code // not the mail server: its host is not to be left alone for it
	}
	return fault.Transient, e.Code
}

// CredentialError classes what went wrong before anybody was spoken to.
func CredentialError(err error) error {
	if _, ok := errors.AsType[*oauth.Error](err); ok || errors.Is(err, db.ErrUnreachable) || errors.Is(err, db.ErrFenced) ||
		errors.Is(err, secret.ErrUnavailable) {
		return err
	}
	return config("secret", fmt.Errorf("credential: %w", err))
}
