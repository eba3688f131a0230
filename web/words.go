package web

import (
	"regexp"
	"slices"

	"imapsync/db"
	"imapsync/internal/fault"
)

// words are what the pages say about errors. Say ends the error's own sentence,
// or stands below it; [name] stands for the label of a setting.
var words = fault.Words{
	{Codes: "refresh_token", Say: "“Connect with OAuth”"},
	{Codes: "client_secret", Say: "Make a new client secret, then enter [oauth-client-secret] and [oauth-client-secret-expires] under “Edit”"},
}

var settingName = regexp.MustCompile(`\[[a-z-]+\]`)

// sayAbout is what the pages say about an error of p, with the labels of the
// form. A setting that has no field gets its command.
func sayAbout(p *db.Provider, about fault.About) string {
	names := labels()
	return settingName.ReplaceAllStringFunc(words.Find(about).Say, func(name string) string {
		name = name[1 : len(name)-1]
		if label, ok := names[name]; ok {
			return "“" + label + "”"
		}
		if slices.Contains(fieldless(), name) {
			return "`imapsync provider set … --" + name + "`"
		}
		return name
	})
}
