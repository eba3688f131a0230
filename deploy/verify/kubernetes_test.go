package verify

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// manifest is what cronjob.yaml holds.
type manifest struct {
	account  corev1.ServiceAccount
	config   corev1.ConfigMap
	migrate  batchv1.Job
	cronJob  batchv1.CronJob
	watch    appsv1.Deployment
	policies []networkingv1.NetworkPolicy
}

// pods are the pod templates, by the name of what makes them.
func (m *manifest) pods() map[string]*corev1.PodTemplateSpec {
	return map[string]*corev1.PodTemplateSpec{
		"migrate": &m.migrate.Spec.Template,
		"run":     &m.cronJob.Spec.JobTemplate.Spec.Template,
		"watch":   &m.watch.Spec.Template,
	}
}

// readManifest decodes cronjob.yaml as Kubernetes' API does: a field that it does not
// have, in these very letters, or that stands twice, is an error.
func readManifest(t *testing.T) *manifest {
	t.Helper()
	m := &manifest{}
	for i, document := range strings.Split(read(t, "cronjob.yaml"), "\n---\n") {
		var head struct {
			APIVersion, Kind string
		}
		need(t, yaml.Unmarshal([]byte(document), &head))
		var into any
		switch head.APIVersion + " " + head.Kind {
		case "v1 ServiceAccount":
			into = &m.account
		case "v1 ConfigMap":
			into = &m.config
		case "batch/v1 Job":
			into = &m.migrate
		case "batch/v1 CronJob":
			into = &m.cronJob
		case "apps/v1 Deployment":
			into = &m.watch
		case "networking.k8s.io/v1 NetworkPolicy":
			m.policies = append(m.policies, networkingv1.NetworkPolicy{})
			into = &m.policies[len(m.policies)-1]
		default:
			t.Fatalf("document %d is a %s %s", i+1, head.APIVersion, head.Kind)
		}
		data, err := yaml.YAMLToJSONStrict([]byte(document))
		need(t, err)
		strict, err := json.UnmarshalStrict(data, into)
		if err := errors.Join(append(strict, err)...); err != nil {
			t.Fatalf("document %d, %s: %v", i+1, head.Kind, err)
		}
	}
	return m
}

// Pods are as little as they can be, under Kubernetes' "restricted" standard and
// beyond it.
func TestPodsAreRestricted(t *testing.T) {
	m := readManifest(t)
	for name, pod := range m.pods() {
		spec, security := pod.Spec, pod.Spec.SecurityContext
		if spec.ServiceAccountName != m.account.Name || *spec.AutomountServiceAccountToken || *m.account.AutomountServiceAccountToken {
			t.Errorf("%s: has a token of account %q", name, spec.ServiceAccountName)
		}
		if *spec.EnableServiceLinks {
			t.Errorf("%s: a Service may set flags of ours", name)
		}
		if !*security.RunAsNonRoot || *security.RunAsUser != 65532 || security.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
			t.Errorf("%s: %+v", name, security)
		}
		for _, c := range spec.Containers {
			security := c.SecurityContext
			if *security.AllowPrivilegeEscalation || !*security.ReadOnlyRootFilesystem || !slices.Equal(security.Capabilities.Drop, []corev1.Capability{"ALL"}) {
				t.Errorf("%s: %+v", name, security)
			}
			if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
				t.Errorf("%s: without limits or requests", name)
			}
			if c.Image != m.watch.Spec.Template.Spec.Containers[0].Image {
				t.Errorf("%s: another image, %s", name, c.Image)
			}
		}
	}
}

// Flags and variables are the binary's.
func TestPodsCallTheBinary(t *testing.T) {
	m := readManifest(t)
	for name, pod := range m.pods() {
		c := pod.Spec.Containers[0]
		args := slices.Clone(c.Args)
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "$(JOB_COMPLETION_INDEX)", "0")
			if strings.Contains(args[i], "$(") {
				t.Errorf("%s: %s: not a variable of an Indexed Job", name, args[i])
			}
		}
		checkArgs(t, name, args)
		for _, v := range c.Env {
			checkVariable(t, name, v.Name)
		}
		for _, from := range c.EnvFrom {
			if from.ConfigMapRef != nil && from.ConfigMapRef.Name != m.config.Name || from.SecretRef != nil && from.SecretRef.Name != "imapsync" {
				t.Errorf("%s: %+v", name, from)
			}
		}
		// Volumes: all are mounted, and the key is where the ConfigMap says.
		if len(c.VolumeMounts) != len(pod.Spec.Volumes) {
			t.Errorf("%s: %d volumes, %d mounts", name, len(pod.Spec.Volumes), len(c.VolumeMounts))
		}
		for i, mount := range c.VolumeMounts {
			volume := pod.Spec.Volumes[i]
			if mount.Name != volume.Name {
				t.Errorf("%s: %s is mounted, the volume is %s", name, mount.Name, volume.Name)
			}
			if s := volume.Secret; s != nil && mount.MountPath+"/"+s.Items[0].Path != m.config.Data["IMAPSYNC_SECRET_KEY_FILE"] {
				t.Errorf("%s: the key is at %s/%s", name, mount.MountPath, s.Items[0].Path)
			}
		}
	}
	for variable := range m.config.Data {
		checkVariable(t, "ConfigMap", variable)
	}
}

// Each minute's Job deals all mailboxes out, ends in time and tries nothing again.
func TestCronJobTimes(t *testing.T) {
	spec := readManifest(t).cronJob.Spec
	job := spec.JobTemplate.Spec
	args := job.Template.Spec.Containers[0].Args
	if spec.Schedule != "* * * * *" || spec.ConcurrencyPolicy != batchv1.AllowConcurrent {
		t.Errorf("schedule %q, concurrency %s", spec.Schedule, spec.ConcurrencyPolicy)
	}
	if s := *spec.StartingDeadlineSeconds; s < 10 || s > 60 {
		t.Errorf("startingDeadlineSeconds %d: under 10 the controller may miss it, over 60 two runs are due", s)
	}
	if *job.BackoffLimitPerIndex != 0 || job.BackoffLimit != nil {
		t.Error("a failed run is tried again, or ends the others")
	}
	if *job.CompletionMode != batchv1.IndexedCompletion || *job.Completions != *job.Parallelism {
		t.Errorf("%s, %d of %d pods at once", *job.CompletionMode, *job.Parallelism, *job.Completions)
	}
	if want := "--shard=$(JOB_COMPLETION_INDEX)/" + strconv.Itoa(int(*job.Completions)); !slices.Contains(args, want) {
		t.Errorf("%d pods, but not %s: mailboxes are left out", *job.Completions, want)
	}
	i := slices.IndexFunc(args, func(a string) bool { return strings.HasPrefix(a, "--deadline=") })
	deadline, err := time.ParseDuration(strings.TrimPrefix(args[max(i, 0)], "--deadline="))
	need(t, err)
	const grace = 10 * time.Second // what a run takes to end
	active := time.Duration(*job.ActiveDeadlineSeconds) * time.Second
	const largest = time.Minute + 50_000_000/(16<<10)*time.Second // the mail in hand at the deadline
	if deadline >= time.Minute || deadline+largest+grace >= active {
		t.Errorf("--deadline %s, activeDeadlineSeconds %s", deadline, active)
	}
	if *job.TTLSecondsAfterFinished <= 0 || *job.Template.Spec.TerminationGracePeriodSeconds <= int64(grace.Seconds()) {
		t.Error("kept for ever, or killed before it can end")
	}
}

// What no second try can mend fails the Job at once; a drained node does not.
func TestPodFailurePolicy(t *testing.T) {
	m := readManifest(t)
	for name, job := range map[string]batchv1.JobSpec{"migrate": m.migrate.Spec, "run": m.cronJob.Spec.JobTemplate.Spec} {
		rules := job.PodFailurePolicy.Rules
		if len(rules) != 2 || job.Template.Spec.RestartPolicy != corev1.RestartPolicyNever {
			t.Fatalf("%s: %d rules, restartPolicy %s", name, len(rules), job.Template.Spec.RestartPolicy)
		}
		if c := rules[0].OnPodConditions; rules[0].Action != batchv1.PodFailurePolicyActionIgnore || c[0].Type != corev1.DisruptionTarget {
			t.Errorf("%s: %+v", name, rules[0])
		}
		codes := rules[1].OnExitCodes
		if rules[1].Action != batchv1.PodFailurePolicyActionFailJob || !slices.Equal(codes.Values, []int32{64, 76, 78}) || *codes.ContainerName != job.Template.Spec.Containers[0].Name {
			t.Errorf("%s: %+v", name, rules[1])
		}
	}
}

// Selectors meet the labels of the pods, and ports have their names.
func TestSelectors(t *testing.T) {
	m := readManifest(t)
	meets := func(selector map[string]string, labels map[string]string) bool {
		for k, v := range selector {
			if labels[k] != v {
				return false
			}
		}
		return len(selector) > 0
	}
	labels := m.watch.Spec.Template.Labels
	if !meets(m.watch.Spec.Selector.MatchLabels, labels) || !meets(m.watch.Spec.Template.Spec.TopologySpreadConstraints[0].LabelSelector.MatchLabels, labels) {
		t.Errorf("the Deployment does not meet its pods, %v", labels)
	}
	if *m.watch.Spec.Replicas != 0 {
		t.Error("the alternative starts by itself")
	}
	if len(m.policies) != 2 {
		t.Fatalf("%d policies", len(m.policies))
	}
	for name, pod := range m.pods() {
		if !meets(m.policies[0].Spec.PodSelector.MatchLabels, pod.Labels) {
			t.Errorf("%s: may speak to anybody", name)
		}
		if open := meets(m.policies[1].Spec.PodSelector.MatchLabels, pod.Labels); open != (name == "watch") {
			t.Errorf("%s: open to Prometheus: %t", name, open)
		}
	}
	port := m.watch.Spec.Template.Spec.Containers[0].Ports[0].Name
	probes := m.watch.Spec.Template.Spec.Containers[0]
	for _, p := range []string{probes.LivenessProbe.HTTPGet.Port.String(), probes.ReadinessProbe.HTTPGet.Port.String(), m.policies[1].Spec.Ingress[0].Ports[0].Port.String()} {
		if p != port {
			t.Errorf("port %s, the pod has %s", p, port)
		}
	}
}
