package web

// labels are the words of the form for settings and credentials.
func labels() map[string]string {
	return map[string]string{
		"tenant": "Tenant", "name": "Configuration name", "mailbox": "Mailbox", "host": "Server", "port": "Port", "tls": "Encryption",
		"ca": "Certificate authority", "tls-server-name": "Name in the certificate", "auth": "Authentication",
		"username": "Username", "password": "Password", "folder": "Folders",
		"max-emails-per-sync": "Max emails per sync", "max-connections": "Max connections", "start": "Where to start", "defaults-id": "Inbound ticket defaults id",
		"oauth-preset": "OAuth2 provider", "oauth-flow": "Way to sign in", "oauth-client-id": "Client id",
		"oauth-client-secret":         "Client secret",
		"oauth-client-secret-expires": "Last day of the client secret", "oauth-service-account": "Service account key", "oauth-tenant": "Microsoft directory", "oauth-scopes": "Scopes",
		"oauth-authorize-url": "Authorise URL", "oauth-token-url": "Token URL", "oauth-device-url": "Device URL",
		"since": "Go through again since",
	}
}

// called is what the page calls a setting within a sentence: by its label, and
// by its command when it has no field.
func called(setting string) string {
	if label, ok := labels()[setting]; ok {
		return "“" + label + "”"
	}
	return "`imapsync provider set … --" + setting + "`"
}
