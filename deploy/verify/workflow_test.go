package verify

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// workflow is as much of a GitHub workflow as ours have; another field is an error.
type workflow struct {
	Name        string
	On          map[string]*trigger
	Permissions map[string]string
	Concurrency struct {
		Group            string
		CancelInProgress bool `json:"cancel-in-progress"`
	}
	Jobs map[string]struct {
		RunsOn         string `json:"runs-on"`
		TimeoutMinutes int    `json:"timeout-minutes"`
		Steps          []struct {
			Uses, Run string
			With      map[string]any
		}
	}
}

// trigger is when a workflow runs; a schedule is a list in the file.
type trigger struct {
	Branches, Tags []string
}

// Workflows call targets of the Makefile, and nothing else.
func TestWorkflows(t *testing.T) {
	list, err := filepath.Glob(root + "/.github/workflows/*")
	need(t, err)
	if len(list) < 3 {
		t.Fatalf("workflows: %v", list)
	}
	makefile := read(t, "Makefile")
	for _, path := range list {
		name := filepath.Base(path)
		text := read(t, ".github/workflows/"+name)
		text = regexp.MustCompile(`(?m)^  schedule:\n    - cron: .*\n`).ReplaceAllString(text, "")
		var w workflow
		if err := yaml.UnmarshalStrict([]byte(text), &w); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if w.Permissions["contents"] != "read" || len(w.Permissions) != 1 {
			t.Errorf("%s may %v", name, w.Permissions)
		}
		for id, job := range w.Jobs {
			if job.TimeoutMinutes == 0 || job.RunsOn == "" {
				t.Errorf("%s, %s: runs on %q for %d minutes", name, id, job.RunsOn, job.TimeoutMinutes)
			}
			runs := 0
			for _, step := range job.Steps {
				if step.Uses != "" {
					if !regexp.MustCompile(`^actions/[a-z-]+@v\d+$`).MatchString(step.Uses) {
						t.Errorf("%s, %s: uses %s", name, id, step.Uses)
					}
					continue
				}
				runs++
				m := regexp.MustCompile(`^make ([a-z-]+)((?: [A-Z]+=\S+)*)$`).FindStringSubmatch(step.Run)
				if m == nil {
					t.Errorf("%s, %s: %q is not make and a target", name, id, step.Run)
					continue
				}
				if !strings.Contains(makefile, "\n"+m[1]+":") {
					t.Errorf("%s, %s: there is no make %s", name, id, m[1])
				}
				for v := range strings.FieldsSeq(m[2]) {
					variable, _, _ := strings.Cut(v, "=")
					if !regexp.MustCompile(`(?m)^` + variable + ` +\?=`).MatchString(makefile) {
						t.Errorf("%s, %s: make has no %s", name, id, variable)
					}
				}
			}
			if runs == 0 {
				t.Errorf("%s, %s: runs nothing", name, id)
			}
		}
	}
}

// Every target has a line in `make help`, and is phony.
func TestMakefile(t *testing.T) {
	makefile := read(t, "Makefile")
	phony := strings.Fields(regexp.MustCompile(`(?m)^\.PHONY: (.*)$`).FindStringSubmatch(makefile)[1])
	targets := regexp.MustCompile(`(?m)^([a-z-]+):.*?(## .*)?$`).FindAllStringSubmatch(makefile, -1)
	if len(phony) != len(targets) {
		t.Errorf("%d targets, %d of them phony", len(targets), len(phony))
	}
	for _, m := range targets {
		if m[2] == "" {
			t.Errorf("make help says nothing of %s", m[1])
		}
	}
}
