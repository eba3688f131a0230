package verify

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/nats-io/nats-server/v2/server"
)

// compose loads the compose file as docker compose does, by the schema of the
// compose specification; a field that it does not have is an error.
func compose(t *testing.T) *types.Project {
	t.Helper()
	dir, err := filepath.Abs(root + "/deploy")
	need(t, err)
	project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir:  dir,
		ConfigFiles: []types.ConfigFile{{Filename: dir + "/compose.yaml"}},
	}, func(o *loader.Options) { o.Profiles = []string{"*"} })
	need(t, err)
	return project
}

func TestCompose(t *testing.T) {
	project := compose(t)
	ours := 0
	for name, s := range project.Services {
		if tag := s.Image[strings.LastIndex(s.Image, ":")+1:]; tag == s.Image || tag == "latest" {
			t.Errorf("%s: %s is another one tomorrow", name, s.Image)
		}
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is open to the network", name, p.Published)
			}
		}
		for _, v := range s.Volumes {
			if v.Type != types.VolumeTypeBind {
				continue
			}
			if _, err := os.Stat(v.Source); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if s.Image != "imapsync:dev" {
			continue
		}
		ours++
		checkArgs(t, name, s.Command)
		for variable := range s.Environment {
			checkVariable(t, name, variable)
		}
		if !s.ReadOnly || len(s.CapDrop) != 1 || s.CapDrop[0] != "ALL" || s.User != "" {
			t.Errorf("%s: may do more than it needs", name)
		}
		if _, err := os.Stat(filepath.Join(s.Build.Context, "Dockerfile")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if ours < 3 {
		t.Errorf("%d services are imapsync", ours)
	}
}

// The server of NATS takes its file, and loses nothing that it acknowledged.
func TestComposeNATS(t *testing.T) {
	opts, err := server.ProcessConfigFile(root + "/deploy/compose/nats.conf")
	need(t, err)
	if !opts.JetStream || !opts.SyncAlways || opts.StoreDir != "/data" {
		t.Errorf("JetStream %t, sync always %t, store %s", opts.JetStream, opts.SyncAlways, opts.StoreDir)
	}
}

// Dovecot takes its file.
func TestComposeDovecot(t *testing.T) {
	conf, err := filepath.Abs(root + "/deploy/compose/dovecot.conf")
	need(t, err)
	out, err := output(".", nil, tool(t, "doveconf"), "-n", "-c", conf)
	need(t, err)
	if !strings.Contains(string(out), "password=") || !strings.Contains(string(out), "protocols = imap") {
		t.Errorf("doveconf says\n%s", out)
	}
}

// The commands at the head of the file are the binary's.
func TestComposeHead(t *testing.T) {
	head, _, _ := strings.Cut(read(t, "deploy/compose.yaml"), "\nname:")
	text := strings.ReplaceAll(strings.ReplaceAll(head, "\\\n#", ""), "\n#", "\n")
	n := 0
	for line := range strings.Lines(text) {
		if strings.Contains(line, "alias ") || strings.Contains(line, "docker compose") {
			continue
		}
		if _, command, ok := strings.Cut(line, "imapsync "); ok && strings.HasPrefix(line, "   ") {
			command, _, _ = strings.Cut(command, " #")
			checkArgs(t, "compose.yaml", strings.Fields(command))
			n++
		}
	}
	if n != 3 {
		t.Errorf("%d commands", n)
	}
}
