// Package browsertest drives the settings page as people do: in a real browser,
// against a real server, database, broker and mailbox. It is a module of its
// own, so that the product has none of the browser's driver.
package browsertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience bounds each thing that is waited for.
const patience = 2 * time.Minute

// browser is one page of a headless Chromium.
type browser struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // chromedp keeps its page in a context
}

// chromium finds the program. A missing one skips the test, unless
// IMAPSYNC_TEST_REQUIRE=1 says that everything is to be there.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("IMAPSYNC_TEST_REQUIRE") == "1" {
		t.Fatal("chromium is not installed: `make deps` does that")
	}
	t.Skip("chromium is not installed: `make deps` does that")
	return ""
}

// openBrowser starts a browser with nothing in it.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	opts := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(chromium(t)), chromedp.UserDataDir(t.TempDir()), chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, // tests run as root too, where the sandbox cannot
	}
	for _, flag := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "disable-dev-shm-usage", "hide-scrollbars"} {
		opts = append(opts, chromedp.Flag(flag, true))
	}
	allocator, endAllocator := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(endAllocator)
	ctx, end := chromedp.NewContext(allocator)
	t.Cleanup(end)
	b := &browser{t: t, ctx: ctx}
	// The first call starts the browser, which lives as long as its context.
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1280, 900)); err != nil {
		t.Fatal(err)
	}
	// The page's own errors are ours.
	err := chromedp.Listen(ctx, func(event any) {
		if e, ok := event.(*cdpruntime.EventExceptionThrown); ok {
			t.Errorf("an error in the page's script: %s at %s:%d", e.ExceptionDetails.Text, e.ExceptionDetails.URL, e.ExceptionDetails.LineNumber)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fails ends the test with what the page shows.
func (b *browser) fails(what string, err error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
	defer cancel()
	text, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`location + "\n" + document.body.innerText`)) // for the message alone
	b.t.Fatalf("%s: %v\nat %s", what, err, text)
}

// do carries actions out, in bounded time.
func (b *browser) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.fails(what, err)
	}
}

// run carries one action out that has a result.
func run[T any](b *browser, what string, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		b.fails(what, err)
	}
	return v
}

// eval asks the page.
func eval[T any](b *browser, script string, args ...any) T {
	b.t.Helper()
	return run(b, script, chromedp.Evaluate[T](js(script, args...)))
}

// js puts values into a script, each in the place of a $.
func js(script string, args ...any) string {
	for _, arg := range args {
		text, _ := json.Marshal(arg) // strings and numbers always encode
		script = strings.Replace(script, "$", string(text), 1)
	}
	return script
}

// until asks the page until it says yes, or what it last said.
func (b *browser) until(what string, ask func(ctx context.Context) (bool, string, error)) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	for {
		ok, last, err := ask(ctx)
		if err == nil && ok {
			return
		}
		select {
		case <-ctx.Done():
			b.fails(what, errors.Join(ctx.Err(), err, fmt.Errorf("it shows %q", last)))
		case <-time.After(30 * time.Millisecond):
		}
	}
}

func (b *browser) open(address string) {
	b.t.Helper()
	b.do("open "+address, chromedp.Navigate(address), chromedp.WaitVisible(chromedp.CSS("main")))
}

// press clicks the first button or link with a text.
func (b *browser) press(text string) {
	b.t.Helper()
	found := eval[bool](b, `(() => {
		document.querySelectorAll("[data-click]").forEach(e => delete e.dataset.click);
		const it = [...document.querySelectorAll("main button, main a")].find(e => e.innerText.trim() === $ && e.offsetParent && !e.ariaHidden);
		if (it) it.dataset.click = "1";
		return !!it;
	})()`, text)
	if !found {
		b.fails("press "+text, errors.New("there is no such button"))
	}
	b.do("press "+text, chromedp.Click(chromedp.CSS("[data-click]")))
}

// click presses what leads to another page, and waits for that.
func (b *browser) click(text string) {
	b.t.Helper()
	eval[bool](b, `document.documentElement.dataset.old = "1"; true`)
	b.press(text)
	b.until("the page after "+text, func(ctx context.Context) (bool, string, error) {
		fresh, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`document.readyState === "complete" && !document.documentElement.dataset.old && !!document.querySelector("main")`))
		return fresh, "the same page", err
	})
}

// fill puts a value into a field, as typing it would.
func (b *browser) fill(name, value string) {
	b.t.Helper()
	found := eval[bool](b, `(() => {
		const field = document.querySelector("[name='" + $ + "']:not([type=radio])") ;
		if (!field) return false;
		field.value = $;
		field.dispatchEvent(new Event("input", {bubbles: true}));
		return true;
	})()`, name, value)
	if !found {
		b.fails("fill "+name, errors.New("there is no such field"))
	}
}

// choose ticks a box or a radio button by its value.
func (b *browser) choose(name, value string, on bool) {
	b.t.Helper()
	found := eval[bool](b, `(() => {
		const field = [...document.querySelectorAll("[name='" + $ + "']")].find(f => f.value === $);
		if (!field) return false;
		if (field.checked !== $) field.click();
		return true;
	})()`, name, value, on)
	if !found {
		b.fails("choose "+value, errors.New("there is no such choice"))
	}
}

// value reads a field.
func (b *browser) value(name string) string {
	b.t.Helper()
	return eval[string](b, `document.querySelector("[name='" + $ + "']").value`, name)
}

// text reads what is seen of an element, "" when there is none.
func (b *browser) text(selector string) string {
	b.t.Helper()
	return eval[string](b, `document.querySelector($)?.innerText ?? ""`, selector)
}

// await waits until an element shows a text.
func (b *browser) await(selector, want string) {
	b.t.Helper()
	b.until(fmt.Sprintf("wait for %q in %s", want, selector), func(ctx context.Context) (bool, string, error) {
		text, err := shown(ctx, selector)
		return strings.Contains(text, want), text, err
	})
}

// shown is what is seen of an element at this moment, "" when there is none.
func shown(ctx context.Context, selector string) (string, error) {
	return chromedp.Run(ctx, chromedp.Evaluate[string](js(`document.querySelector($)?.innerText ?? ""`, selector)))
}

// tests presses "Test connection" until the page says what came of it. The
// browser ends what it is loading whenever a network interface of the machine
// comes or goes; the page says so then, and a person presses again.
func (b *browser) tests(want string) {
	b.t.Helper()
	const brokeOff = "The test broke off. Try again."
	for try := 1; ; try++ {
		b.press("Test connection")
		var text string
		b.until(fmt.Sprintf("wait for %q in #test", want), func(ctx context.Context) (bool, string, error) {
			var err error
			text, err = shown(ctx, "#test")
			return strings.Contains(text, want) || try < 3 && strings.Contains(text, brokeOff), text, err
		})
		if strings.Contains(text, want) {
			return
		}
		b.t.Logf("try %d: %s", try, brokeOff)
	}
}

// sees insists on a text in an element, now.
func (b *browser) sees(selector, want string) {
	b.t.Helper()
	if text := b.text(selector); !strings.Contains(text, want) {
		b.t.Errorf("%s shows %q, want %q in it", selector, text, want)
	}
}

// html is all of the page.
func (b *browser) html() string {
	b.t.Helper()
	return eval[string](b, `document.documentElement.outerHTML`)
}

func (b *browser) location() string {
	b.t.Helper()
	return run(b, "read the address", chromedp.Location())
}

// look sets the colours and the size of the screen.
func (b *browser) look(scheme string, width, height int64) {
	b.t.Helper()
	b.do("set the screen", chromedp.EmulateViewport(width, height), chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
		return err
	}))
}

// shoot writes a picture of the whole page, on a screen as high as that: what
// lies beyond a screen is taken without the frames in it.
func (b *browser) shoot(dir, name string, width int64) {
	b.t.Helper()
	height := run(b, "measure the page", chromedp.Evaluate[int64](`document.documentElement.scrollHeight`))
	b.do("set the screen", chromedp.EmulateViewport(width, height))
	png := run(b, "take a picture", chromedp.CaptureScreenshot())
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
