package web

import (
	"regexp"
	"slices"
	"strings"

	"imapsync/provider"
)

// labels are the words of the form for what the command line has flags for.
// What db and the command say of a setting names the flag.
func labels() map[string]string {
	return map[string]string{
		"tenant": "Tenant", "name": "Configuration name", "mailbox": "Mailbox", "host": "Server", "port": "Port", "tls": "Encryption",
		"ca-file": "Certificate authority", "tls-server-name": "Name in the certificate", "auth": "Authentication",
		"username": "Username", "password": "Password", "password-file": "Password", "folder": "Folders",
		"max-emails-per-sync": "Max emails per sync", "start": "Where to start", "defaults-id": "Inbound ticket defaults id",
		"oauth-preset": "OAuth2 provider", "oauth-flow": "Way to sign in", "oauth-client-id": "Client id",
		"oauth-client-secret": "Client secret", "oauth-client-secret-file": "Client secret",
		"oauth-client-secret-expires": "Last day of the client secret", "oauth-service-account": "Service account key",
		"oauth-service-account-file": "Service account key", "oauth-tenant": "Microsoft directory", "oauth-scopes": "Scopes",
		"oauth-authorize-url": "Authorise URL", "oauth-token-url": "Token URL", "oauth-device-url": "Device URL",
		"since": "Go through again since",
	}
}

// fieldless are the settings that the page has no field for: only a command
// changes them.
func fieldless() []string {
	return []string{"eager-login", "connect-timeout", "command-timeout", "literal-timeout", "pass-timeout", "max-message-bytes",
		"max-attachment-bytes", "max-attachments-total-bytes", "max-attachments", "max-bytes-per-day"}
}

var (
	flagName   = regexp.MustCompile(`--[a-z][a-z-]+`)
	authHint   = regexp.MustCompile("`?imapsync provider auth (?:'[^']*'|[^\\s`,;:]+)`?")
	resumeHint = regexp.MustCompile("`?imapsync provider resume (?:'[^']*'|[^\\s`,;:]+)`?( goes on)?")
	setHint    = regexp.MustCompile("`?imapsync provider set (?:'[^']*'|[^\\s`,;:]+)(?: --password-prompt)?`?")
)

// inWords says of a message of the command line what it means on the page: the
// labels in place of the flags, the buttons in place of the commands. A flag that
// has no field gets its command.
func inWords(message string) string {
	message = authHint.ReplaceAllString(message, "“Connect with OAuth”")
	message = resumeHint.ReplaceAllString(message, "“Resume”")
	message = setHint.ReplaceAllString(message, "“Edit”")
	message = strings.ReplaceAll(message, "--no-test", "“Test the connection first” switched off")
	names := labels()
	return flagName.ReplaceAllStringFunc(message, func(flag string) string {
		name := strings.TrimPrefix(flag, "--")
		if label, ok := names[name]; ok {
			return "“" + label + "”"
		}
		if slices.Contains(fieldless(), name) {
			return "`imapsync provider set … " + flag + "`"
		}
		return flag
	})
}

// fieldOf is the field of the form that a problem stands beside.
func fieldOf(problem provider.Problem) string {
	if problem.Setting == "ca" {
		return "ca-file"
	}
	return problem.Setting
}

// labelled is what the page calls a setting within a sentence.
func labelled(setting string) string { return "“" + labels()[setting] + "”" }
