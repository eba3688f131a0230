package imapwire

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"

	"imapsync/internal/devenv/imapserver"
)

// scripted is a connection whose other end says what is in the reader and hears
// nothing.
type scripted struct {
	io.Reader
	sent bytes.Buffer
}

func (c *scripted) Write(p []byte) (int, error)    { return c.sent.Write(p) }
func (*scripted) Close() error                     { return nil }
func (*scripted) LocalAddr() net.Addr              { return nil }
func (*scripted) RemoteAddr() net.Addr             { return nil }
func (*scripted) SetDeadline(time.Time) error      { return nil }
func (*scripted) SetReadDeadline(time.Time) error  { return nil }
func (*scripted) SetWriteDeadline(time.Time) error { return nil }

// through sends commands, then returns what the client would read of server.
func through(lim Limits, commands, server string) (string, *Conn) {
	conn := &scripted{Reader: strings.NewReader("* OK hi\r\n" + server)}
	w := New(conn, lim)
	for line := range strings.SplitAfterSeq(commands, "\r\n") {
		w.Write([]byte(line))
	}
	b, _ := io.ReadAll(w)
	return strings.TrimPrefix(string(b), "* OK done\r\n"), w
}

const (
	askSizes = "T1 UID FETCH 7,9 (UID RFC822.SIZE INTERNALDATE)\r\n"
	askBoth  = "T1 UID FETCH 7,9 (UID BODY.PEEK[])\r\n"
	askOne   = "T1 UID FETCH 7 (UID BODY.PEEK[])\r\n"
	askHead  = "T1 UID FETCH 7 (UID BODY.PEEK[HEADER])\r\n"
	askFind  = "T1 UID SEARCH UID 1:4294967295\r\n"
	askExam  = "T1 EXAMINE INBOX\r\n"
	askUIDs  = "T1 UID FETCH 1:4294967295 (UID)\r\n"
)

// TestWireRepairs: what the client reads of what the server sends.
func TestWireRepairs(t *testing.T) {
	for name, tc := range map[string]struct{ commands, server, want string }{
		"body":                {askOne, "* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\n"},
		"body LF only":        {askOne, "* 1 FETCH (UID 7 BODY[] {5}\nhello)\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\n"},
		"size behind body":    {askOne, "* 1 FETCH (UID 7 BODY[] {5}\r\nhello RFC822.SIZE 5)\r\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\n"},
		"one byte":            {askOne, "* 1 FETCH (UID 7 BODY[] {1}\r\nh)\r\n", "* 1 FETCH (UID 7 BODY[] {1}\r\nh)\r\n"},
		"empty":               {askOne, "* 1 FETCH (UID 7 BODY[] {0}\r\n)\r\n", "* 1 FETCH (UID 7 BODY[] {0}\r\n)\r\n"},
		"NIL":                 {askOne, "* 1 FETCH (UID 7 BODY[] nil)\r\n", "* 1 FETCH (UID 7 BODY[] NIL)\r\n"},
		"quoted":              {askOne, `* 1 FETCH (BODY[] "a \"b\" ) c" UID 7)` + "\r\n", "* 1 FETCH (UID 7 BODY[] {9}\r\na \"b\" ) c)\r\n"},
		"RFC822":              {askOne, "* 1 fetch (uid 7 rfc822 {5}\r\nhello)\r\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\n"},
		"BODY.PEEK":           {askOne, "* 1 FETCH (UID 7 BODY.PEEK[] {5}\r\nhello)\r\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\n"},
		"literal8":            {askOne, "* 1 FETCH (UID 7 BODY[] ~{5+}\r\nhello)\r\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\n"},
		"blanks":              {askOne, "*  1  FETCH  ( UID  7  BODY[]  {5} \r\nhello  ) \r\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\n"},
		"no blank":            {askOne, "* 1 FETCH(UID 7 FLAGS(\\Seen) BODY[] {5}\r\nhello)\r\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\n"},
		"flags only":          {askOne, "* 1 FETCH (FLAGS (\\Seen) UID 7)\r\n* 1 FETCH (UID 7)\r\n", ""},
		"UID behind, one":     {askOne, "* 1 FETCH (BODY[] {5}\r\nhello UID 7)\r\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\n"},
		"UID behind, two":     {askBoth, "* 1 FETCH (BODY[] {5}\r\nhello UID 9)\r\n* 2 FETCH (BODY[] {5}\r\nworld UID 7)\r\n", "* 1 FETCH (UID 9 BODY[] {5}\r\nhello)\r\n* 2 FETCH (UID 7 BODY[] {5}\r\nworld)\r\n"},
		"UID behind, other":   {askOne, "* 1 FETCH (BODY[] {5}\r\nhello UID 8)\r\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhell"},
		"UID never, one":      {askOne, "* 1 FETCH (BODY[] {5}\r\nhello)\r\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhell"},
		"UID never, two":      {askBoth, "* 1 FETCH (BODY[] {5}\r\nhello)\r\n", "* 1 FETCH (BODY[] {5}\r\nhello)\r\n"}, // go-imap ignores it
		"UID 0":               {askBoth, "* 1 FETCH (UID 0 RFC822.SIZE 5)\r\n", ""},
		"excess bytes":        {askOne, "* 1 FETCH (UID 7 BODY[] {5}\r\nhello world)\r\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhell"},
		"no end":              {askOne, "* 1 FETCH (UID 7 BODY[] {5}\r\nhello\r\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhell"},
		"closed, then more":   {askOne, "* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\n FLAGS (\\Seen) RFC822.SIZE 5)\r\n* 3 EXISTS\r\nT1 OK\r\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\n* 3 EXISTS\r\nT1 OK done\r\n"},
		"closed, more lines":  {askOne, "* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\nFLAGS (\\Seen)\r\nX-A \"b\" )\r\n)\r\nX-LIT {3}\r\nabc)\r\nT1 OK\r\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\nT1 OK done\r\n"},
		"closed twice":        {askOne, "* 1 FETCH (UID 7 BODY[] {5}\r\nhello) ) \r\nT1 OK\r\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\nT1 OK done\r\n"},
		"closed and more":     {askOne, "* 1 FETCH (UID 7 BODY[] {5}\r\nhello) FLAGS (\\Seen) UID 7)\r\nT1 OK\r\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\nT1 OK done\r\n"},
		"closed, then mail":   {askOne, "* 1 FETCH (UID 7 BODY[] {5}\r\nhello) he said\r\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhell"},
		"items behind, bare":  {askOne, "* 1 FETCH (UID 7 BODY[] {5}\r\nhello\r\n FLAGS (\\Seen))\r\nT1 OK\r\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\nT1 OK done\r\n"},
		"items before, bare":  {askOne, "* 1 FETCH (UID 7\r\n FLAGS (\\Seen)\r\n BODY[] {5}\r\nhello)\r\nT1 OK\r\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\nT1 OK done\r\n"},
		"all on the next":     {askOne, "* 1 FETCH\r\n (UID 7 BODY[] {5}\r\nhello)\r\nT1 OK\r\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\nT1 OK done\r\n"},
		"UID behind, bare":    {askOne, "* 1 FETCH (BODY[] {5}\r\nhello\r\nUID 7)\r\nT1 OK\r\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\nT1 OK done\r\n"},
		"not closed, tagged":  {askOne, "* 1 FETCH (UID 7 BODY[] {5}\r\nhello\r\nT1 OK\r\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\nT1 OK done\r\n"},
		"not closed, next":    {askBoth, "* 1 FETCH (UID 7 BODY[] {5}\r\nhello FLAGS ()\r\n* 2 FETCH (UID 9 BODY[] {5}\r\nworld)\r\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\n* 2 FETCH (UID 9 BODY[] {5}\r\nworld)\r\n"},
		"end in the body":     {askOne, "* 1 FETCH (UID 7 BODY[] {6}\r\nhello)\r\nT1 OK\r\n", "* 1 FETCH (UID 7 BODY[] {6}\r\nhello"},
		"end and CR in body":  {askOne, "* 1 FETCH (UID 7 BODY[] {7}\r\nhello)\r\nT1 OK\r\n", "* 1 FETCH (UID 7 BODY[] {7}\r\nhello)"},
		"end in early body":   {askBoth, "* 1 FETCH (BODY[] {6}\r\nhello)\r\n* 2 FETCH (UID 9 BODY[] {5}\r\nworld)\r\n", ""},
		"not closed, mail":    {askOne, "* 1 FETCH (UID 7 BODY[] {5}\r\nhello\r\n* a bullet\r\nT1 OK\r\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhell"},
		"not closed, text":    {askOne, "* 1 FETCH (UID 7 BODY[] {5}\r\nhello\r\nbody and soul\r\nT1 OK\r\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhell"},
		"no value":            {askOne, "* 1 FETCH (UID 7 BODY[] {5}\r\nhello FLAGS)\r\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\n"},
		"sizes, not closed":   {askSizes, "* 1 FETCH (UID 7 RFC822.SIZE 5\r\n* 2 FETCH (UID 9\r\n RFC822.SIZE 6)\r\n* 3 FETCH (UID 7 RFC822.SIZE)\r\nT1 OK\r\n", "* 1 FETCH (UID 7 RFC822.SIZE 5)\r\n* 2 FETCH (UID 9 RFC822.SIZE 6)\r\n* 3 FETCH (UID 7)\r\nT1 OK done\r\n"},
		"two bodies":          {askOne, "* 1 FETCH (UID 7 BODY[] {5}\r\nhello BODY[] {5}\r\nworld)\r\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\n"},
		"other section":       {askOne, "* 1 FETCH (UID 7 BODY[TEXT] {5}\r\nhello)\r\n", ""},
		"header":              {askHead, "* 1 FETCH (UID 7 body[header] {5}\r\nhello)\r\n* 2 FETCH (RFC822.HEADER {5}\r\nworld UID 7)\r\n", "* 1 FETCH (UID 7 BODY[HEADER] {5}\r\nhello)\r\n* 2 FETCH (UID 7 BODY[HEADER] {5}\r\nworld)\r\n"},
		"header, other":       {askHead, "* 1 FETCH (UID 7 BODY[HEADER.FIELDS (From)] {5}\r\nhello)\r\n* 1 FETCH (UID 7 RFC822 {5}\r\nhello)\r\n", ""},
		"part":                {askOne, "* 1 FETCH (UID 7 BODY[]<0.10> {5}\r\nhello)\r\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\n"},
		"part elsewhere":      {askOne, "* 1 FETCH (UID 7 BODY[]<100> {5}\r\nhello)\r\n", ""},
		"sizes":               {askSizes, "* 1 FETCH (RFC822.SIZE 5 UID 7 INTERNALDATE \" 1-Jan-2024 00:00:00 +0000\" FLAGS ())\r\n", "* 1 FETCH (UID 7 RFC822.SIZE 5 INTERNALDATE \" 1-Jan-2024 00:00:00 +0000\")\r\n"},
		"sizes, zeros":        {askSizes, "* 0001 FETCH (UID 000000000007 RFC822.SIZE 0000000000005)\r\n", "* 1 FETCH (UID 7 RFC822.SIZE 5)\r\n"},
		"sizes, bad date":     {askSizes, "* 1 FETCH (RFC822.SIZE 5 UID 7 INTERNALDATE \"30-Feb-2024 00:00:00 +0000\")\r\n", "* 1 FETCH (UID 7 RFC822.SIZE 5)\r\n"},
		"sizes, odd date":     {askSizes, "* 1 FETCH (RFC822.SIZE 5 UID 7 INTERNALDATE \"31-dec-2024  1:59:59 -0100\")\r\n", "* 1 FETCH (UID 7 RFC822.SIZE 5 INTERNALDATE \"31-dec-2024  1:59:59 -0100\")\r\n"},
		"sizes, year one":     {askSizes, "* 1 FETCH (RFC822.SIZE 5 UID 7 INTERNALDATE \" 1-Jan-0001 00:00:00 +0000\")\r\n", "* 1 FETCH (UID 7 RFC822.SIZE 5)\r\n"},
		"sizes, flags only":   {askSizes, "* 1 FETCH (UID 7 FLAGS ())\r\n", ""},
		"sizes, no size":      {askSizes, "* 1 FETCH (UID 7 INTERNALDATE \" 1-Jan-2024 00:00:00 +0000\" FLAGS ())\r\n* 2 FETCH (UID 9)\r\n", "* 1 FETCH (UID 7 INTERNALDATE \" 1-Jan-2024 00:00:00 +0000\")\r\n* 2 FETCH (UID 9)\r\n"},
		"sizes, unreadable":   {askSizes, "* 1 FETCH (UID 7 RFC822.SIZE 1.38e+02)\r\n* 2 FETCH (UID 9 RFC822.SIZE NIL)\r\n", "* 1 FETCH (UID 7)\r\n* 2 FETCH (UID 9)\r\n"},
		"sizes, not of mail":  {askSizes, "* 1 FETCH (UID 7 RFC822.SIZE -5)\r\n* 2 FETCH (UID 9 RFC822.SIZE 4294967296)\r\n* 3 FETCH (UID 9 RFC822.SIZE 0)\r\n", "* 1 FETCH (UID 7)\r\n* 2 FETCH (UID 9)\r\n* 3 FETCH (UID 9)\r\n"},
		"malformed":           {askSizes, "* 1 FETCH (UID 7 ( {3}\r\n)))\r\n* 1 FETCH UID\r\n* 1 FETCH\r\n* x FETCH ()\r\n* 2 FETCH (UID 9 RFC822.SIZE 1)\r\n", "* 2 FETCH (UID 9 RFC822.SIZE 1)\r\n"},
		"nobody asked":        {askExam, "* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\n", ""},
		"tagged":              {askExam, "t1 ok [read-only]\r\nT1 OK\r\n", "T1 OK [READ-ONLY] done\r\n"},
		"tagged odd code":     {askExam, "T1 NO [Error=\"a]b\" c=d] it [failed]\r\n", "T1 NO [ERROR] it [failed]\r\n"},
		"tagged open code":    {askExam, "T1 BAD [it failed\r\n", "T1 BAD  [it failed\r\n"},
		"tagged no status":    {askExam, "T1 Whatever happened\r\n", "T1 BAD Whatever happened\r\n"},
		"stale tag":           {askExam, "T1 OK x\r\nT1 OK x\r\n* 1 EXISTS\r\n", "T1 OK done\r\n* 1 EXISTS\r\n"},
		"control characters":  {askExam, "T1 NO a\x00b\x1b[31m\xff\r\n", "T1 NO a b [31m\r\n"},
		"codes":               {askExam, "* OK [uidnext 5] x\r\n* OK [UIDNEXT 4294967296] x\r\n* OK [UIDVALIDITY 0]\r\n* ok [uidvalidity 1713632002544] x\r\n* OK [HIGHESTMODSEQ 18446744073709551615]\r\n* OK [NOMODSEQ]\r\n* OK [UNSEEN 3]\r\n* OK [PERMANENTFLAGS (\\* a])]\r\n", "* OK [UIDNEXT 5] done\r\n* OK done\r\n* OK [HIGHESTMODSEQ 0] done\r\n* OK [HIGHESTMODSEQ 1713632002544] done\r\n"},
		"numbers":             {askExam, "* 5 exists now\r\n* 99999999999 EXISTS\r\n* 1 RECENT\r\n* 2 EXPUNGE\r\n* -1 EXISTS\r\n", "* 5 EXISTS\r\n* 1 RECENT\r\n* 2 EXPUNGE\r\n"},
		"noise":               {askExam, "\r\n \r\n*\r\n* \r\n+ x\r\n+\r\n* FLAGS (a])\r\n* XYZ {3}\r\nT1 \r\n* QUOTA \"\" ()\r\n* SORT 0\r\n* ESEARCH UID ALL 1:4294967295\r\n* ENABLED X\r\n* NO warning\r\n", ""},
		"search":              {"T1 UID SEARCH ALL\r\n", "* SEARCH\r\n*   search  3 1  2 2 0 4294967295 4294967296 \r\n* SEARCH 5 (MODSEQ 9)\r\n", "* SEARCH\r\n* SEARCH 1 2 3\r\n* SEARCH 5\r\n"},
		"esearch":             {askFind, "* ESEARCH (TAG \"T1\") UID ALL 1:3,9,7:8\r\nT1 OK x\r\n", "* SEARCH 1 2 3 7 8 9\r\nT1 OK done\r\n"},
		"esearch, odd":        {askFind, "*  esearch  (tag t1)  uid  modseq (9) min 1 max 3 count 2 all 3,1 x (y)\r\nT1 OK x\r\n", "* SEARCH 1 3\r\nT1 OK done\r\n"},
		"esearch, no tag":     {askFind, "* ESEARCH UID ALL 5\r\nT1 OK x\r\n", "* SEARCH 5\r\nT1 OK done\r\n"},
		"esearch, alien tag":  {askFind, "* ESEARCH (TAG \"x\") UID ALL 5\r\nT1 OK x\r\n", "* SEARCH 5\r\nT1 OK done\r\n"},
		"esearch, other tag":  {"T1 UID SEARCH ALL\r\n", "T1 OK x\r\n* ESEARCH (TAG \"T1\") UID ALL 5\r\n", "T1 OK done\r\n"},
		"esearch, old tag":    {"T9 NOOP\r\nT10 UID SEARCH UID 1:9\r\n", "* ESEARCH (TAG \"T9\") UID ALL 5\r\nT10 OK x\r\n", "T10 NO the server says OK and does not list what it found\r\n"},
		"esearch, none":       {askFind, "* ESEARCH (TAG \"T1\") UID\r\nT1 OK x\r\n", "* SEARCH\r\nT1 OK done\r\n"},
		"esearch, count 0":    {askFind, "* ESEARCH (TAG \"T1\") UID COUNT 0\r\nT1 OK x\r\n", "* SEARCH\r\nT1 OK done\r\n"},
		"esearch, no list":    {askFind, "* ESEARCH (TAG \"T1\") UID COUNT 3\r\nT1 OK x\r\n", "T1 NO the server says OK and does not list what it found\r\n"},
		"esearch, min":        {askFind, "* ESEARCH (TAG \"T1\") UID MIN 1 MAX 3\r\nT1 OK x\r\n", "T1 NO the server says OK and does not list what it found\r\n"},
		"esearch, no uids":    {askFind, "* ESEARCH (TAG \"T1\") ALL 1:3\r\nT1 OK x\r\n", "T1 NO the server says OK and does not list what it found\r\n"},
		"esearch, star":       {askFind, "* ESEARCH (TAG \"T1\") UID ALL 1:*\r\nT1 OK x\r\n", "T1 NO the server says OK and does not list what it found\r\n"},
		"esearch, junk":       {askFind, "* ESEARCH (TAG \"T1\") UID ALL 1:2:3,x (4\r\nT1 OK x\r\n", "T1 NO the server says OK and does not list what it found\r\n"},
		"esearch, huge":       {askFind, "* ESEARCH (TAG \"T1\") UID ALL 1:4294967295\r\nT1 OK x\r\n", "T1 NO the server says OK and does not list what it found\r\n"},
		"esearch, literal":    {askFind, "* ESEARCH (TAG {2}\r\nT1) UID ALL 5\r\nT1 OK x\r\n", "T1 NO the server says OK and does not list what it found\r\n"},
		"esearch, no UID":     {askFind, "* ESEARCH (TAG \"T1\") UID ALL 4294967295,4294967294,99999999999,5\r\nT1 OK x\r\n", "* SEARCH 5 4294967294\r\nT1 OK done\r\n"},
		"esearch, nothing":    {askFind, "* ESEARCH\r\nT1 OK x\r\n", "T1 NO the server says OK and does not list what it found\r\n"},
		"esearch beside":      {askFind, "* ESEARCH (TAG \"T1\") UID ALL 1:4294967295\r\n* SEARCH 3 1\r\nT1 OK x\r\n", "* SEARCH 1 3\r\nT1 OK done\r\n"},
		"esearch after empty": {askFind, "* SEARCH\r\n* ESEARCH (TAG \"T1\") UID ALL 1,3\r\nT1 OK x\r\n", "* SEARCH\r\n* SEARCH 1 3\r\nT1 OK done\r\n"},
		"esearch counts too":  {askFind, "* SEARCH\r\n* ESEARCH (TAG \"T1\") UID COUNT 3\r\nT1 OK x\r\n", "* SEARCH\r\nT1 NO the server says OK and does not list what it found\r\n"},
		"esearch after":       {askFind, "* SEARCH 3 1\r\n* ESEARCH (TAG \"T1\") UID ALL 1,3\r\nT1 OK x\r\n", "* SEARCH 1 3\r\nT1 OK done\r\n"},
		"search, refused":     {askFind, "T1 NO [SERVERBUG] x\r\n", "T1 NO [SERVERBUG] x\r\n"},
		"search, silent":      {askFind, "T1 OK x\r\n", "T1 NO the server says OK and does not list what it found\r\n"},
		"search, silent else": {"T1 UID SEARCH SINCE 1-Jan-2024\r\n", "T1 OK x\r\n", "T1 OK done\r\n"},
		"searching, not":      {askExam, "* SEARCHING 1\r\n* SEA\r\n* S\r\n* SEARCH 1\r\n", "* SEARCH 1\r\n"},
		"capabilities":        {askExam, "* CAPABILITY IMAP4rev1  X(Y) \"Z\" IMAP4rev2 AUTH=PLAIN \r\n", "* CAPABILITY IMAP4rev1 X AUTH=PLAIN\r\n"},
		"capabilities, rev2":  {askExam, "* CAPABILITY IMAP4rev2\r\n", "* CAPABILITY IMAP4rev2\r\n"},
		"list":                {askExam, "* LIST (\\HasNoChildren \\Sent ) \"/\" \"Sent Items\"\r\n", "* LIST (\\HasNoChildren \\Sent) \"/\" \"Sent Items\"\r\n"},
		"list, bare name":     {askExam, "* LIST () NIL Sent Items\r\n", "* LIST () NIL \"Sent Items\"\r\n"},
		"list, literal name":  {askExam, "* LIST () \"/\" {7}\r\na\r\nb\"\\c\r\n", "* LIST () \"/\" \"a&AA0ACg-b\\\"\\\\c\"\r\n"},
		"list, extended":      {askExam, "* LIST () \"/\" INBOX (CHILDINFO (\"SUBSCRIBED\"))\r\n", "* LIST () \"/\" \"INBOX\"\r\n"},
		"list, quote open":    {askExam, "* LIST () \"/\" \"abc\r\n", "* LIST () \"/\" \"\\\"abc\"\r\n"},
		"list, nameless":      {askExam, "* LIST () \"/\"\r\n* LIST\r\n* LIST (\r\n", ""},
		"status":              {"T1 STATUS INBOX (UIDNEXT)\r\n", "* STATUS \"inbox\" (UIDNEXT 5 X (1 (2)) UIDVALIDITY 3 HIGHESTMODSEQ 9)\r\n", "* STATUS INBOX (UIDNEXT 5 HIGHESTMODSEQ 3)\r\n"},
		"status, huge":        {"T1 STATUS \"a b\" (UIDNEXT)\r\n", "* STATUS A B (MESSAGES 1 UIDNEXT 4294967296 UIDVALIDITY 3 )\r\n", "* STATUS \"a b\" (MESSAGES 1 HIGHESTMODSEQ 3)\r\n"},
		"status, another":     {"T1 STATUS INBOX (UIDNEXT)\r\n", "* STATUS Other (UIDNEXT 5)\r\n", "* STATUS \"Other\" (UIDNEXT 5)\r\n"},
		"status, empty":       {"T1 STATUS INBOX (UIDNEXT)\r\n", "* STATUS INBOX\r\n* STATUS INBOX ()\r\n", "* STATUS INBOX ()\r\n"},
		"id":                  {"T1 ID NIL\r\n", "* ID (\"Name\" \"x\" \"version\" NIL \"odd\" \"y\")\r\n* ID NIL\r\n", "* ID (\"name\" \"x\")\r\n* ID ()\r\n"},
		"bye":                 {askExam, "* bye [unavailable] Too many\r\n", "* BYE [UNAVAILABLE] Too many\r\n"},
		"bye, expected":       {"T1 LOGOUT\r\n", "* BYE\r\nT1 OK\r\n", "T1 OK done\r\n"},
		"continuation, idle":  {"T1 IDLE\r\n", "+\r\n+ again\r\n", "+ \r\n"},
		"continuation, auth":  {"T1 AUTHENTICATE XOAUTH2\r\n", "+ Ready.\r\n", "+ \r\n"},
		"continuation, sasl":  {"T1 AUTHENTICATE XOAUTH2 abcd\r\n", "+ eyJ9\r\n", "+ eyJ9\r\n"},
		"continuation, liter": {"T1 LOGIN {2}\r\n", "+ go on\r\n+\r\n", "+ \r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got, _ := through(Limits{}, tc.commands, tc.server)
			if got != tc.want {
				t.Errorf("\n got %q\nwant %q", got, tc.want)
			}
		})
	}
}

// TestNumber63: UIDVALIDITY tells one numbering from another, however servers write it.
func TestNumber63(t *testing.T) {
	for text, want := range map[string]uint64{
		"0": 0, "1": 1, "4294967296": 1 << 32, "1713632002544": 1713632002544, "9223372036854775807": 1<<63 - 1,
		"9223372036854775808": 1, "9223372036854775811": 3, "18446744073709551615": 1<<63 - 1, "18446744073709551617": 1,
		"100000000000000000000000000000000000000": 687399551400673280, "007": 7,
		"": 0, "-1": 0, "1.7e12": 0, "0x10": 0, "17\t": 0, "12345678901234567890123456789012345678901": 0,
	} {
		if got, _ := number63([]byte(text)); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
}

// TestWireKeepsUIDs: a FETCH of UIDs alone may be kept from the client, which sees how
// it ended; what else comes meanwhile it sees too.
func TestWireKeepsUIDs(t *testing.T) {
	server := "* 3 FETCH (UID 9 FLAGS ())\r\n* 1 FETCH (UID 7)\r\n* 4 EXISTS\r\n* 2 FETCH (UID 8)\r\n* 1 FETCH (FLAGS () UID 7)\r\n" +
		"* 9 FETCH (UID 4294967295)\r\n* 9 FETCH (UID 0)\r\n* 9 FETCH (FLAGS ())\r\nT1 OK\r\n"
	for want, limit := range map[string]int{"[7 8 9]": 4, "[7 8 9] over": 3} {
		w := New(&scripted{Reader: strings.NewReader("* OK hi\r\n" + server)}, Limits{SearchNums: limit})
		w.KeepUIDs()
		w.Write([]byte(askUIDs))
		b, err := io.ReadAll(w)
		got := fmt.Sprint(w.KeptUIDs())
		if limit == 3 {
			if e, ok := errors.AsType[*Error](err); ok && e.Limit {
				got += " over"
			}
		} else if want := "* OK done\r\n* 4 EXISTS\r\nT1 OK done\r\n"; string(b) != want {
			t.Errorf("the client reads %q, want %q", b, want)
		}
		if got != want {
			t.Errorf("limit %d: %s, want %s", limit, got, want)
		}
		if again := w.KeptUIDs(); again != nil {
			t.Errorf("kept a second time: %v", again)
		}
	}
}

// TestWireUIDFromSequence: a body too large to wait in memory gets its UID from
// what its sequence number was, unless something may have shifted the numbers.
func TestWireUIDFromSequence(t *testing.T) {
	lim := Limits{Buffer: 4}
	learn := "* 1 FETCH (UID 7 FLAGS ())\r\n"
	body := "* 1 FETCH (BODY[] {5}\r\nhello UID 7)\r\n"
	for name, tc := range map[string]struct {
		server, want string
		err          string
	}{
		"known":     {learn + body, "* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\n", ""},
		"unknown":   {body, "", "body of 5 bytes came before its UID"},
		"shifted":   {learn + "* 1 EXPUNGE\r\n" + body, "* 1 EXPUNGE\r\n", "body of 5 bytes came before its UID"},
		"vanished":  {learn + "* VANISHED 3\r\n" + body, "", "body of 5 bytes came before its UID"},
		"otherwise": {learn + "* 1 FETCH (BODY[] {5}\r\nhello UID 9)\r\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhell", "body taken for UID 7 belongs to UID 9"},
		"never":     {learn + "* 1 FETCH (BODY[] {5}\r\nhello)\r\n", "* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, w := through(lim, askBoth, tc.server)
			if got != tc.want {
				t.Errorf("\n got %q\nwant %q", got, tc.want)
			}
			if err := w.Err(); tc.err != "" && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("got %v, want %s", err, tc.err)
			}
		})
	}
	// Another mailbox: the numbers begin anew.
	w := New(&scripted{Reader: io.MultiReader(
		strings.NewReader("* OK hi\r\n" + learn + "T1 OK\r\nT2 OK\r\n" + body))}, lim)
	for _, line := range []string{askBoth, "T2 EXAMINE b\r\n", strings.Replace(askBoth, "T1", "T3", 1)} {
		w.Write([]byte(line))
	}
	if b, err := io.ReadAll(w); err == nil || strings.Contains(string(b), "hello") {
		t.Errorf("a UID of another mailbox was used: %q, %v", b, err)
	}
}

// TestWireErrors: errors keep their type.
func TestWireErrors(t *testing.T) {
	_, w := through(Limits{}, askOne, "* 1 FETCH (UID 7 BODY[] {500}\r\n0123456789")
	if err := w.Err(); !errors.Is(err, io.ErrUnexpectedEOF) || err.Error() != "unexpected EOF" {
		t.Error(err)
	}
	_, w = through(Limits{Line: 10_000}, askOne, strings.Repeat("x", 100_000))
	if e, ok := errors.AsType[*Error](w.Err()); !ok || !e.Limit || !strings.HasPrefix(e.Text, "server sent a line of ") {
		t.Error(w.Err())
	}
	_, w = through(Limits{}, "", "")
	if err := w.Err(); !errors.Is(err, io.EOF) {
		t.Error(w.Err())
	}
	_, w = through(Limits{}, askExam, "* BYE [Unavailable] Too\tmany\r\n")
	if st := w.LastStatus(); st != (Status{Type: "BYE", Code: "UNAVAILABLE", Text: "Too many"}) {
		t.Errorf("%+v", st)
	}
	_, w = through(Limits{}, askExam, "T1 NO [MESSAGELIMIT 1000 7] no\r\n")
	if st := w.LastStatus(); st != (Status{"NO", "MESSAGELIMIT", "1000 7", "no", "EXAMINE"}) || st.String() != "NO [MESSAGELIMIT 1000 7] no" {
		t.Errorf("%+v", st)
	}
}

// TestWireSecrets: nothing of a login is kept, and no spelling of a secret gets
// through in a text.
func TestWireSecrets(t *testing.T) {
	const secret = `pa"ss\wörd`
	plain := sasl.NewPlainClient("", "me", secret)
	_, ir, _ := plain.Start()
	b64 := func(s string) string { return encodeBase64([]byte(s)) }
	for _, echo := range []string{
		secret, strings.ToUpper(secret), `pa\"ss\\wörd`, b64(secret), b64(string(ir)), b64("x\x00" + secret + "y"),
		b64("user=me\x01auth=Bearer " + secret + "\x01\x01"),
	} {
		conn := &scripted{Reader: strings.NewReader("* OK hi\r\nT1 NO [X " + echo + "] you said " + echo + "!\r\n" + echo + " garbage\r\n")}
		w := New(conn, Limits{})
		w.Redact(secret)
		w.Write([]byte("T1 LOGIN me {10}\r\n"))
		w.Write([]byte(secret))
		w.Write([]byte("\r\n"))
		b, err := io.ReadAll(w)
		all := string(b) + w.LastStatus().String() + err.Error() + w.Err().Error()
		for _, part := range []string{echo, secret, "wörd", "WÖRD"} {
			if strings.Contains(all, part) {
				t.Errorf("%q shows: %s", part, all)
			}
		}
		if !strings.Contains(all, "you said [redacted]") && !strings.Contains(all, "[redacted]") {
			t.Errorf("nothing redacted: %s", all)
		}
		if !strings.Contains(conn.sent.String(), secret) {
			t.Errorf("the server was sent %q", conn.sent.String())
		}
	}
	// A token may be longer than what an error quotes.
	token := strings.Repeat("Tok3n+", 1000)
	w := New(&scripted{Reader: strings.NewReader("* OK hi\r\n" + token + " garbage\r\n")}, Limits{})
	w.Redact(token)
	if _, err := io.ReadAll(w); err == nil || strings.Contains(err.Error(), "Tok3n") || !strings.Contains(err.Error(), "[redacted] garbage") {
		t.Errorf("a long token: %v", err)
	}
	// An empty answer is sent as one.
	exchange := &scripted{Reader: strings.NewReader("")}
	w = New(exchange, Limits{})
	for _, line := range []string{"=\r\n", "T1 AUTHENTICATE XOAUTH2\r\n", "=\r\n"} {
		if n, err := w.Write([]byte(line)); n != len(line) || err != nil {
			t.Errorf("%q: %d, %v", line, n, err)
		}
	}
	if got, want := exchange.sent.String(), "=\r\nT1 AUTHENTICATE XOAUTH2\r\n\r\n"; got != want {
		t.Errorf("sent %q, want %q", got, want)
	}
	// The parser of outgoing lines drops what it need not know.
	w = New(&scripted{Reader: strings.NewReader("")}, Limits{})
	for _, line := range []string{"T1 LOGIN me \"hunter2\"\r\n", "T2 AUTHENTICATE PLAIN aHVudGVyMg==\r\n", "aHVudGVyMg==\r\n", "T3 LOGIN {2}\r\n", "me {7}\r\n", "hunter2\r\n"} {
		w.Write([]byte(line[:len(line)/2]))
		w.Write([]byte(line[len(line)/2:]))
		kept := string(w.cmd.line[:cap(w.cmd.line)])
		for _, c := range w.pending {
			kept += c.tag + c.name + c.arg
		}
		if strings.Contains(kept, "hunter2") || strings.Contains(kept, "aHVudGVyMg") || strings.Contains(kept, "unter") {
			t.Errorf("after %q: kept %q", line, kept)
		}
	}
}

// TestWireSecretsInPieces: however a login is split over writes, its literals are
// known for what they are, and nothing of them is kept.
func TestWireSecretsInPieces(t *testing.T) {
	for _, login := range []string{
		"T1 LOGIN {5}\r\nalice {7}\r\nhunter2\r\n",
		"T1 LOGIN {5+}\r\nalice {7+} \r\nhunter2\r\n",
		"T1 LOGIN \"ali{5}\" {14}\r\nhunter2\r\nalice\r\n",
		"T1 LOGIN alice \"hunter2{5}\"\r\n",
		"T1 AUTHENTICATE PLAIN\r\nhunter2alice\r\n",
	} {
		whole := sentInPieces(t, login)
		for i := range login {
			for j := i; j < len(login); j++ {
				w := sentInPieces(t, login[:i], login[i:j], login[j:])
				if got, want := w.contWanted, whole.contWanted; got != want {
					t.Fatalf("%q split at %d and %d: waits for %d continuations, not %d", login, i, j, got, want)
				}
			}
		}
	}
}

// sentInPieces writes a login and a NOOP behind it, and looks after each write
// for what is kept.
func sentInPieces(t *testing.T, pieces ...string) *Conn {
	t.Helper()
	w := New(&scripted{Reader: strings.NewReader("")}, Limits{})
	for _, piece := range append(pieces, "T2 NOOP\r\n") {
		w.Write([]byte(piece))
		kept := string(w.cmd.line[:cap(w.cmd.line)]) + string(w.cmd.mark[:cap(w.cmd.mark)])
		for _, c := range w.pending {
			kept += " " + c.tag + " " + c.name + c.arg
		}
		if low := strings.ToLower(kept); strings.Contains(low, "ali") || strings.Contains(low, "hu") || strings.Contains(low, "er2") {
			t.Fatalf("%q: kept %q", pieces, kept)
		}
	}
	last := w.pending[len(w.pending)-1].name // in an exchange of AUTHENTICATE, NOOP is no command
	if len(w.pending) > 2 || last != "NOOP" && last != "AUTHENTICATE" {
		t.Fatalf("%q: outstanding are %+v", pieces, w.pending)
	}
	return w
}

// TestWireMailboxSpelling: a name is asked for as the server spells it, and of two that
// read alike each is asked for.
func TestWireMailboxSpelling(t *testing.T) {
	conn := &scripted{Reader: strings.NewReader("* OK hi\r\n" + strings.Join([]string{
		`* LIST () "/" "&BBAEMQQyACYEMwQ0BDU-"`, "* LIST () \"/\" \"Абв\"", "* LIST () \"/\" \"Entw\xfcrfe\"", `* LIST () "/" "R&D"`, `* LIST () "/" "R&-D"`,
		`* LIST () "/" "&AEY-oo"`, `* LIST () "/" "Foo"`, `* LIST () "/" " ends "`, "* LIST () \"/\" \"e\u0301\"", "* LIST () \"/\" \"\u00e9\"",
		`* LIST () "/" "Entw&APw-rfe"`, "* LIST () \"/\" \"Entw\u00fcrfe\"",
	}, "\r\n") + "\r\n")}
	w := New(conn, Limits{})
	heard, _ := io.ReadAll(w)
	var asked []string
	for line := range strings.Lines(string(heard)) {
		if _, name, ok := strings.Cut(strings.TrimSpace(line), `"/" `); ok {
			asked = append(asked, name)
		}
	}
	asked = append(asked, `"Абв"`, `"Абв&-где"`) // as of IMAP4rev2
	for i, name := range asked {
		fmt.Fprintf(w, "T%d EXAMINE %s\r\n", i, name)
	}
	var sent []string
	for line := range strings.Lines(conn.sent.String()) {
		_, name, _ := strings.Cut(strings.TrimSpace(line), "EXAMINE ")
		sent = append(sent, name)
	}
	want := []string{`"&BBAEMQQyACYEMwQ0BDU-"`, `"Абв"`, "\"Entw\xfcrfe\"", `"R&D"`, `"R&-D"`, `"&AEY-oo"`, `"Foo"`, `" ends "`, "\"e\u0301\"", "\"\u00e9\"",
		`"Entw&APw-rfe"`, "\"Entw\u00fcrfe\"", `"Абв"`, `"&BBAEMQQyACYEMwQ0BDU-"`}
	if !slices.Equal(sent, want) {
		t.Errorf("\n sent %q\n want %q\nasked %q", sent, want, asked)
	}
	seen := map[string]bool{}
	for _, name := range asked[:12] {
		if seen[name] {
			t.Errorf("%s is two folders", name)
		}
		seen[name] = true
	}
}

// TestWireMailboxNames: every name a server may list comes out readable, and
// goes back as the server spelled it.
func TestWireMailboxNames(t *testing.T) {
	for raw, want := range map[string]string{
		"INBOX":               "INBOX",
		"Entw&APw-rfe":        "Entwürfe",
		"Gel\u00f6scht":       "Gelöscht",
		"Entw\xfcrfe":         "Entwürfe",
		"R&D":                 "R&D",
		"R&-D":                "R&D",
		"a&AOk-&AOk-b":        "aééb",
		"&Jjo-!":              "☺!",
		"&2D3eAA-":            "😀",
		"&ZeVnLIqe-/&U,BTFw-": "日本語/台北",
		"bad&!!-":             "bad&!!-",
		"tab\tname":           "tab\tname",
		`back\slash "q"`:      `back\slash "q"`,
	} {
		srv := imapserver.Test(t, imapserver.Config{}, 0)
		srv.Mailbox(raw).Append(imapserver.TestMail(1))
		imapserver.Within(t, 10*time.Second, func() {
			conn, err := net.Dial("tcp", srv.Addr())
			if err != nil {
				t.Fatal(err)
			}
			client := imapclient.New(New(tls.Client(conn, &tls.Config{RootCAs: srv.CAs(), ServerName: "localhost"}), testLimits), nil)
			defer client.Close()
			if err := client.Login(srv.Username, srv.Password).Wait(); err != nil {
				t.Fatal(err)
			}
			list, err := client.List("", "*", nil).Collect()
			if err != nil {
				t.Fatalf("%q: %v", raw, err)
			}
			if got := list[len(list)-1].Mailbox; got != want {
				t.Errorf("%q: listed as %q, want %q", raw, got, want)
			}
			st, err := client.Status(want, &imap.StatusOptions{UIDNext: true}).Wait()
			if err != nil || st.UIDNext == 0 {
				t.Errorf("%q: status: %v, %+v", raw, err, st)
			}
			if _, err := client.Select(want, &imap.SelectOptions{ReadOnly: true}).Wait(); err != nil {
				t.Errorf("%q: examine: %v", raw, err)
			}
		})
	}
}

// Noise without end is cut, by count and by bytes, long before it costs seconds, and so
// are answers without end.
func TestFailure08_WireNoise(t *testing.T) {
	for name, tc := range map[string]struct{ command, line string }{
		"unknown":    {"T1 NOOP\r\n", "* X\r\n"},
		"untagged":   {"T1 NOOP\r\n", "* OK x\r\n"},
		"exists":     {"T1 NOOP\r\n", "* 5 EXISTS\r\n"},
		"flags":      {askOne, "* 1 FETCH (UID 7 FLAGS ())\r\n"},
		"sizes":      {askSizes, "* 1 FETCH (UID 7 RFC822.SIZE 5)\r\n"},
		"list":       {"T1 LIST \"\" *\r\n", "* LIST () NIL a\r\n"},
		"search":     {askFind, "* SEARCH 5\r\n"},
		"esearch":    {askFind, "* ESEARCH (TAG \"T1\") UID ALL 1:9\r\n"},
		"other sets": {askFind, "* ESEARCH (TAG \"x\") UID ALL 1:1000000\r\n"},
		"empty":      {"T1 NOOP\r\n", "\r\n"},
		"plus":       {"T1 NOOP\r\n", "+ \r\n"},
		"literals":   {"T1 NOOP\r\n", "* X {1000000}\r\n" + strings.Repeat("x", 1_000_000) + "\r\n"},
		"idle":       {"T1 IDLE\r\n", "* OK still here\r\n"},
		"kept":       {askUIDs, "* 1 FETCH (UID 7)\r\n"},
		"no uid":     {askUIDs, "* 1 FETCH (FLAGS ())\r\n"},
		"last uid":   {askUIDs, "* 1 FETCH (UID 4294967295)\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			endless := io.MultiReader(strings.NewReader("* OK hi\r\n"), &repeated{text: []byte(strings.Repeat(tc.line, 1+4000/len(tc.line)))})
			w := New(&scripted{Reader: endless}, Limits{})
			w.KeepUIDs()
			w.Write([]byte(tc.command))
			began := time.Now()
			_, err := io.Copy(io.Discard, struct{ io.Reader }{w})
			if e, ok := errors.AsType[*Error](err); !ok || !e.Limit {
				t.Errorf("%v", err)
			}
			t.Logf("cut after %v: %v", time.Since(began), err)
		})
	}
}

// repeated is a text without end.
type repeated struct {
	text []byte
	at   int
}

func (r *repeated) Read(p []byte) (n int, err error) {
	for n < len(p) {
		c := copy(p[n:], r.text[r.at:])
		n, r.at = n+c, (r.at+c)%len(r.text)
	}
	return n, nil
}

// TestWireDeadlines counts in false time: only waiting for the server counts.
func TestWireDeadlines(t *testing.T) {
	pipe := func(t *testing.T) (*Conn, net.Conn) {
		here, there := net.Pipe()
		t.Cleanup(func() {
			here.Close()
			there.Close()
			time.Sleep(time.Minute) // for sleepers to notice
		})
		go io.Copy(io.Discard, there) // hears the client
		w := New(here, Limits{})
		return w, there
	}
	read := func(t *testing.T, w *Conn, want string) {
		t.Helper()
		buf := make([]byte, len(want))
		if _, err := io.ReadFull(w, buf); err != nil || string(buf) != want {
			t.Errorf("read %q, %v, want %q", buf, err, want)
		}
	}
	timesOut := func(t *testing.T, w *Conn, after time.Duration) {
		t.Helper()
		start := time.Now()
		_, err := io.ReadAll(w)
		if took := time.Since(start); took != after {
			t.Errorf("took %v, want %v", took, after)
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.Is(w.Err(), os.ErrDeadlineExceeded) {
			t.Errorf("%v, %v", err, w.Err())
		}
	}
	for name, f := range map[string]func(t *testing.T){
		"greeting": func(t *testing.T) {
			w, _ := pipe(t)
			timesOut(t, w, 30*time.Second)
		},
		"dripping line": func(t *testing.T) {
			w, there := pipe(t)
			go func() {
				for there.SetWriteDeadline(time.Now().Add(time.Minute)) == nil {
					if _, err := there.Write([]byte("*")); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			}()
			timesOut(t, w, 30*time.Second) // there is no silence, and a greeting has no more
			there.Close()
		},
		"rest, then a command": func(t *testing.T) {
			w, there := pipe(t)
			go there.Write([]byte("* OK hi\r\n"))
			read(t, w, "* OK done\r\n")
			go func() {
				time.Sleep(time.Hour) // no command outstanding: no limit
				w.Write([]byte("T1 NOOP\r\n"))
			}()
			timesOut(t, w, time.Hour+30*time.Second)
		},
		"keep-alives": func(t *testing.T) {
			w, there := pipe(t)
			go func() {
				there.Write([]byte("* OK hi\r\n"))
				for range 4 {
					time.Sleep(20 * time.Second)
					there.Write([]byte("* OK still here\r\n"))
				}
				there.Write([]byte("T1 OK\r\n"))
			}()
			read(t, w, "* OK done\r\n")
			w.Write([]byte("T1 NOOP\r\n"))
			read(t, w, "T1 OK done\r\n")
		},
		"keep-alives without end": func(t *testing.T) {
			w, there := pipe(t)
			go func() {
				there.Write([]byte("* OK hi\r\n"))
				for {
					time.Sleep(20 * time.Second)
					if _, err := there.Write([]byte("* OK still here\r\n")); err != nil {
						return
					}
				}
			}()
			read(t, w, "* OK done\r\n")
			w.Write([]byte("T1 NOOP\r\n"))
			timesOut(t, w, 90*time.Second)
			there.Close()
		},
		"slow and of use": func(t *testing.T) { // 100 bytes a second are waited for no longer
			w, there := pipe(t)
			line := "* 1 FETCH (UID 7 RFC822.SIZE " + strings.Repeat("0", 17) + "5)"
			line += strings.Repeat(" ", 98-len(line)) + "\r\n"
			go func() {
				there.Write([]byte("* OK hi\r\n"))
				for {
					time.Sleep(time.Second)
					if _, err := there.Write([]byte(line)); err != nil {
						return
					}
				}
			}()
			w.Write([]byte(askSizes))
			start := time.Now()
			if _, err := io.ReadAll(w); err == nil || time.Since(start) > 91*time.Second {
				t.Errorf("ends after %v: %v", time.Since(start), err)
			}
			there.Close()
		},
		"literal": func(t *testing.T) {
			w, there := pipe(t)
			go there.Write([]byte("* OK hi\r\n* 1 FETCH (UID 7 BODY[] {5}\r\nhe"))
			w.Write([]byte(askOne))
			timesOut(t, w, 60*time.Second)
		},
		"dripping literal": func(t *testing.T) {
			w, there := pipe(t)
			go func() {
				there.Write([]byte("* OK hi\r\n* 1 FETCH (UID 7 BODY[] {50000}\r\n"))
				for {
					if _, err := there.Write([]byte("x")); err != nil {
						return
					}
					time.Sleep(100 * time.Millisecond)
				}
			}()
			w.Write([]byte(askOne))
			start := time.Now()
			_, err := io.ReadAll(w)
			if took := time.Since(start).Round(time.Second); took != 63*time.Second {
				t.Errorf("took %v, want 60 s and 50,000 bytes at 16 KiB/s", took)
			}
			if e, ok := errors.AsType[*Error](err); !ok || !e.Slow {
				t.Errorf("%v", err)
			}
			there.Close()
		},
		"slow consumer": func(t *testing.T) {
			w, there := pipe(t)
			go there.Write([]byte("* OK hi\r\n* 1 FETCH (UID 7 BODY[] {5}\r\nhello)\r\nT1 OK\r\n"))
			w.Write([]byte(askOne))
			read(t, w, "* OK done\r\n* 1 FETCH (UID 7 BODY[] {5}\r\nhe")
			time.Sleep(time.Hour)
			read(t, w, "llo)\r\nT1 OK done\r\n")
		},
		"idle": func(t *testing.T) {
			w, there := pipe(t)
			go there.Write([]byte("* OK hi\r\n+ idling\r\n"))
			w.Write([]byte("T1 IDLE\r\n"))
			read(t, w, "* OK done\r\n+ \r\n")
			timesOut(t, w, 10*time.Minute)
		},
		"idle, done": func(t *testing.T) {
			w, there := pipe(t)
			go there.Write([]byte("* OK hi\r\n+ idling\r\n"))
			w.Write([]byte("T1 IDLE\r\n"))
			read(t, w, "* OK done\r\n+ \r\n")
			go func() {
				time.Sleep(time.Minute)
				w.Write([]byte("DONE\r\n"))
			}()
			timesOut(t, w, 90*time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
	}
}

// TestFailure08_WireMemory: 2 GB go by, as a body and as noise, in a few MB.
func TestFailure08_WireMemory(t *testing.T) {
	const size = 2 << 30
	for name, head := range map[string]string{
		"body":  "* 1 FETCH (UID 7 BODY[] {2147483648}\r\n",
		"noise": "* XFOO {2147483648}\r\n",
		"value": "* 1 FETCH (UID 7 X-JUNK {2147483648}\r\n",
	} {
		conn := &scripted{Reader: io.MultiReader(strings.NewReader("* OK hi\r\n"+head), io.LimitReader(zeros{}, size), strings.NewReader(")\r\nT1 OK\r\n"))}
		w := New(conn, Limits{LiteralSize: 3 << 30, Noise: 3 << 30})
		w.Write([]byte(askOne))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		buf := make([]byte, 64<<10)
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{w}, buf)
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 || err != nil {
			t.Errorf("%s: %d bytes allocated, %v", name, got, err)
		}
		if name == "body" && n < size {
			t.Errorf("%d bytes came through", n)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// TestWireAllocs: a line in the steady state costs no allocation.
func TestWireAllocs(t *testing.T) {
	lines := strings.Repeat("* 1 FETCH (UID 7 RFC822.SIZE 5 INTERNALDATE \" 1-Jan-2024 00:00:00 +0000\" FLAGS (\\Seen a]) X-GM-MSGID 99)\r\n* 5 EXISTS\r\n* OK still here\r\n* SEARCH 1 2 3\r\n", 1000)
	var before, after runtime.MemStats
	w := New(&scripted{Reader: strings.NewReader("* OK hi\r\n" + lines)}, Limits{})
	w.Write([]byte(askSizes))
	runtime.ReadMemStats(&before)
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{w}, make([]byte, 4096))
	runtime.ReadMemStats(&after)
	if err != nil || n < 50_000 {
		t.Fatal(n, err)
	}
	if got := after.Mallocs - before.Mallocs; got > 200 {
		t.Errorf("%d allocations for 4000 lines", got)
	}
}

// TestWireCommandAllocs: the line of a command is followed in memory that the one
// before it has used.
func TestWireCommandAllocs(t *testing.T) {
	const runs = 100
	w := New(&scripted{Reader: strings.NewReader("* OK hi\r\n" + strings.Repeat("T1 OK\r\n", runs+1))}, Limits{})
	buf := make([]byte, 100)
	w.Read(buf)
	got := testing.AllocsPerRun(runs, func() {
		w.Write([]byte("T1 STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY)\r\n"))
		w.Read(buf)
	})
	if got > 5 {
		t.Errorf("%.0f allocations a command", got)
	}
}

func encodeBase64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
