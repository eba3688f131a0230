package devenv

import (
	"fmt"
	"os"
	"os/user"
	"strings"
)

// config returns dovecot.conf in the syntax of the installed version.
func (d *Dovecot) config() (string, error) {
	var dialect string
	switch {
	case strings.HasPrefix(d.version, "2.3."):
		dialect = d.config23()
	case strings.HasPrefix(d.version, "2.4."):
		dialect = d.config24()
	default:
		return "", fmt.Errorf("version %q is neither 2.3 nor 2.4: its configuration is not known", d.version)
	}
	return dialect + d.commonConfig() + d.userConfig() + d.oauthConfig() + strings.Join(d.extra, "\n") + "\n", nil
}

// config23 holds what 2.4 renamed.
func (d *Dovecot) config23() string {
	at := d.scratch.file
	driver, path := d.format()
	return `
ssl_cert = <` + at("cert.pem") + `
ssl_key = <` + at("key.pem") + `
disable_plaintext_auth = no
mail_location = ` + driver + `:` + path + `:UTF-8
passdb {
  driver = passwd-file
  args = ` + at("users") + `/%u
}
userdb {
  driver = static
  args = uid=` + fmt.Sprint(d.mail.uid) + ` gid=` + fmt.Sprint(d.mail.gid) + ` home=` + at("mail") + `/%u
}
service imap-login {
  service_count = 0
}
`
}

// config24 is config23 in the words of 2.4.
func (d *Dovecot) config24() string {
	at := d.scratch.file
	driver, path := d.format()
	return `
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
ssl_server_cert_file = ` + at("cert.pem") + `
ssl_server_key_file = ` + at("key.pem") + `
auth_allow_cleartext = yes
mail_driver = ` + driver + `
mail_path = ` + path + `
mailbox_list_utf8 = yes
passdb passwd-file {
  passwd_file_path = ` + at("users") + `/%{user}
}
userdb static {
  fields {
    uid = ` + fmt.Sprint(d.mail.uid) + `
    gid = ` + fmt.Sprint(d.mail.gid) + `
    home = ` + at("mail") + `/%{user}
  }
}
service imap-login {
  restart_request_count = unlimited
}
`
}

// format returns how mail is kept, and where.
func (d *Dovecot) format() (driver, path string) {
	if d.sdbox {
		return "sdbox", "~/sdbox"
	}
	return "maildir", "~/Maildir"
}

// commonConfig holds the rest. The penalty of anvil, which delays an address
// that failed to log in, is off along with auth_failure_delay.
func (d *Dovecot) commonConfig() string {
	at := d.scratch.file
	port := func(n int) string { return fmt.Sprint(n) }
	return `
protocols = imap
listen = ` + d.Host + `
base_dir = ` + at("run") + `
state_dir = ` + at("state") + `
log_path = ` + d.logFile() + `
ssl = yes
first_valid_uid = 1
first_valid_gid = 1
mail_fsync = never
mailbox_idle_check_interval = 1 secs
auth_mechanisms = plain login
auth_failure_delay = 0
namespace inbox {
  inbox = yes
  separator = ` + d.separator + `
  mailbox Drafts {
    special_use = \Drafts
  }
  mailbox Junk {
    special_use = \Junk
  }
  mailbox Sent {
    special_use = \Sent
  }
  mailbox Trash {
    special_use = \Trash
  }
}
protocol imap {
  mail_max_userip_connections = 10000
}
service imap-login {
  inet_listener imap {
    port = ` + port(d.StartTLSPort) + `
  }
  inet_listener imap-plain {
    port = ` + port(d.PlainPort) + `
  }
  inet_listener imaps {
    port = ` + port(d.TLSPort) + `
    ssl = yes
  }
  process_limit = 4
  client_limit = 1000
}
service imap {
  process_limit = 1000
}
service auth {
  client_limit = 8000
}
service anvil {
  client_limit = 8000
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
`
}

// oauthConfig has tokens looked up at the authorization server. In 2.4 that is
// no passdb any more.
func (d *Dovecot) oauthConfig() string {
	if d.oauth == nil {
		return ""
	}
	conf := "auth_mechanisms = plain login " + strings.Join(d.mechanisms, " ") + "\n"
	if strings.HasPrefix(d.version, "2.4.") {
		return conf + "oauth2 {\n" + d.oauthBackend("  ") + "}\n"
	}
	return conf + "passdb {\n  driver = oauth2\n  mechanisms = xoauth2 oauthbearer\n  args = " + d.scratch.file("oauth2.conf.ext") + "\n}\n"
}

func (d *Dovecot) oauthBackend(indent string) string {
	if d.oauth == nil {
		return ""
	}
	var b strings.Builder
	for _, line := range []string{
		"introspection_mode = post", "introspection_url = " + d.oauth.URL + "/introspect", "username_attribute = username",
		"active_attribute = active", "active_value = true",
	} {
		b.WriteString(indent + line + "\n")
	}
	return b.String()
}

// userConfig says who the server's processes run as. As root they drop to
// Dovecot's own users, or to nobody where there are none; else all are ours.
func (d *Dovecot) userConfig() string {
	if os.Getuid() != 0 {
		return fmt.Sprintf(`
default_internal_user = %[1]s
default_login_user = %[1]s
default_internal_group = %[2]s
service imap-login {
  chroot =
}
service anvil {
  chroot =
}
`, d.mail.name, d.mail.group)
	}
	conf := "service auth {\n  user = root\n}\n" // it reads our files
	if _, err := user.Lookup("dovenull"); err != nil {
		conf += fmt.Sprintf("default_login_user = %[1]s\ndefault_internal_user = %[1]s\ndefault_internal_group = %[2]s\n",
			d.mail.name, d.mail.group)
	}
	return conf
}
