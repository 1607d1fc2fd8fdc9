package daemon

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mayfly-run/mayfly/spark"
)

// clients are the real AWS command line and boto3: those that mayfly setup brought, or those on the PATH.
type clients struct{ aws, python string }

func findClients(t *testing.T) clients {
	t.Helper()
	if in, err := spark.Find(spark.Options{}); err == nil {
		return clients{in.AWS(), in.Python}
	}
	aws, err := exec.LookPath("aws")
	if err == nil && exec.Command("python3", "-c", "import boto3").Run() == nil {
		return clients{aws, "python3"}
	}
	if os.Getenv("MAYFLY_TEST_ALL") != "" {
		t.Fatal("no AWS clients: run mayfly setup")
	}
	t.Skip("no AWS clients on this machine; mayfly setup brings them")
	return clients{}
}

// run runs a program with an environment that points at the server, and returns what it prints.
func run(t *testing.T, s *Server, dir string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "AWS_ENDPOINT_URL="+s.Endpoint(), "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test",
		"AWS_DEFAULT_REGION=us-east-1", "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "PYTHONUTF8=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestBoto3S3(t *testing.T) {
	c := findClients(t)
	s := start(t, Settings{Listen: "127.0.0.1:0", DataDir: t.TempDir()})
	defer s.Stop()
	if out := run(t, s, ".", c.python, "testdata/s3.py"); strings.TrimSpace(out) != "done" {
		t.Errorf("printed %q", out)
	}
}

func TestCommandLineS3(t *testing.T) {
	c := findClients(t)
	s := start(t, Settings{Listen: "127.0.0.1:0", DataDir: t.TempDir()})
	defer s.Stop()
	dir := t.TempDir()
	aws := func(args ...string) string { return run(t, s, dir, c.aws, args...) }
	big := make([]byte, 20_000_000)
	rand.Read(big)
	for name, text := range map[string][]byte{"big": big, "tree/a b": []byte("1"), "tree/sub/ü": []byte("2"), "tree/sub/empty": nil} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	aws("s3", "mb", "s3://cli")
	aws("s3", "cp", "big", "s3://cli/big")
	aws("s3", "cp", "s3://cli/big", "big2")
	if got, err := os.ReadFile(filepath.Join(dir, "big2")); err != nil || !bytes.Equal(got, big) {
		t.Errorf("20 MB came back as %d bytes (%v)", len(got), err)
	}
	aws("s3", "cp", "s3://cli/big", "s3://cli/copy")
	aws("s3", "sync", "tree", "s3://cli/tree")
	if out := aws("s3", "sync", "tree", "s3://cli/tree"); strings.Contains(out, "upload") {
		t.Errorf("a second sync uploads again: %s", out)
	}
	aws("s3", "sync", "s3://cli/tree", "down")
	if out := run(t, s, dir, "diff", "-r", "tree", "down"); out != "" {
		t.Error(out)
	}
	aws("s3", "mv", "s3://cli/copy", "s3://cli/moved")
	if out := aws("s3", "ls", "s3://cli", "--recursive"); strings.Count(out, "\n") != 5 || !strings.Contains(out, "20000000 moved") {
		t.Errorf("listing:\n%s", out)
	}
	url := strings.TrimSpace(aws("s3", "presign", "s3://cli/tree/sub/ü"))
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	res.Body.Close()
	if string(b) != "2" || err != nil {
		t.Errorf("presigned: %s %q %v", res.Status, b, err)
	}
	aws("s3", "rm", "s3://cli", "--recursive")
	aws("s3", "rb", "s3://cli")
	if out := aws("s3", "ls"); out != "" {
		t.Errorf("left: %s", out)
	}
}

// TestS3AForms sends what Hadoop's S3A sends: chunked bodies, an empty object of 86 bytes with Expect: 100-continue, and
// reads two answers from one connection: nothing of a body may be left in it.
func TestS3AForms(t *testing.T) {
	s := start(t, Settings{Listen: "127.0.0.1:0", DataDir: t.TempDir()})
	defer s.Stop()
	conn, err := net.Dial("tcp", s.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	do := func(status int, method, path, headers, body string) string {
		t.Helper()
		expect := strings.Contains(headers, "100-continue")
		fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%sContent-Length: %d\r\n\r\n", method, path, headers, len(body))
		if expect {
			if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100") {
				t.Fatalf("%s %s: %q instead of 100 Continue (%v)", method, path, line, err)
			}
			in.ReadString('\n')
		}
		io.WriteString(conn, body)
		res, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		if res.StatusCode != status {
			t.Fatalf("%s %s: %s\n%s", method, path, res.Status, b)
		}
		return string(b)
	}
	const signature = ";chunk-signature=0000000000000000000000000000000000000000000000000000000000000000\r\n"
	chunked := func(n int, more string) string {
		return "Expect: 100-continue\r\nContent-Encoding: aws-chunked\r\nx-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD\r\n" +
			fmt.Sprintf("x-amz-decoded-content-length: %d\r\n%s", n, more)
	}
	do(200, "PUT", "/bkt", "", "")
	empty := "0" + signature + "\r\n"
	if len(empty) != 86 {
		t.Fatalf("%d bytes", len(empty))
	}
	do(200, "PUT", "/bkt/dir/", chunked(0, "Content-Type: application/x-directory\r\n"), empty)
	do(200, "PUT", "/bkt/dir/_SUCCESS", chunked(0, ""), empty)
	do(200, "PUT", "/bkt/dir/part-0", chunked(7, ""), "4"+signature+"abcd\r\n3"+signature+"efg\r\n"+empty)
	do(400, "PUT", "/bkt/short", chunked(8, ""), "4"+signature+"abcd\r\n"+empty)
	do(404, "PUT", "/none/k", chunked(0, ""), empty) // refused, and its body read all the same
	do(404, "HEAD", "/bkt/none", "", "")
	if got := do(206, "GET", "/bkt/dir/part-0", "Range: bytes=2-100\r\nIf-Match: \"7ac66c0f148de9519b8bd264312c4d64\"\r\n", ""); got != "cdefg" {
		t.Errorf("range: %q", got)
	}
	do(200, "PUT", "/bkt/renamed", "x-amz-copy-source: /bkt/dir/part-0\r\nx-amz-copy-source-if-match: \"7ac66c0f148de9519b8bd264312c4d64\"\r\nx-amz-metadata-directive: REPLACE\r\n", "")
	if got := do(200, "GET", "/bkt/?list-type=2&prefix=dir/&delimiter=/&max-keys=5000", "", ""); !strings.Contains(got, "<KeyCount>3</KeyCount>") || !strings.Contains(got, "<MaxKeys>1000</MaxKeys>") {
		t.Errorf("listing: %s", got)
	}
	do(200, "POST", "/bkt?delete", "Content-Type: application/xml\r\n", `<Delete><Object><Key>dir/</Key></Object><Object><Key>renamed</Key></Object><Quiet>true</Quiet></Delete>`)
	do(204, "DELETE", "/bkt/dir/_SUCCESS", "", "")

	req, err := http.NewRequest("GET", s.Endpoint()+"/?list-type=2", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "bkt.s3.us-east-1.amazonaws.com"
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, _ := io.ReadAll(res.Body); !strings.Contains(string(b), "<Key>dir/part-0</Key>") {
		t.Errorf("virtual-hosted listing: %s", b)
	}
}

// TestStatesActions calls every action of Step Functions with real clients, good and bad: testdata/states.json.
func TestStatesActions(t *testing.T) {
	c := findClients(t)
	t.Setenv("AWS_DISABLE_HOST_PREFIX_INJECTION", "true")
	for _, client := range []string{"boto3", "cli"} {
		t.Run(client, func(t *testing.T) {
			s := start(t, Settings{Listen: "127.0.0.1:0", DataDir: t.TempDir()})
			defer s.Stop()
			if out := run(t, s, ".", c.python, "testdata/states.py", client); strings.TrimSpace(out) != "37 actions" {
				t.Errorf("printed %q", out)
			}
		})
	}
}

// TestSyncHost: clients put sync- before the host of these operations.
func TestSyncHost(t *testing.T) {
	s := start(t, Settings{Listen: "127.0.0.1:0", DataDir: t.TempDir()})
	defer s.Stop()
	for _, host := range []string{"sync-127.0.0.1:4566", "sync-localhost", "sync-states.us-east-1.amazonaws.com"} {
		req, err := http.NewRequest("POST", s.Endpoint(), strings.NewReader(`{"definition": "{\"Type\":\"Pass\",\"End\":true}", "input": "7"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		req.Header.Set("X-Amz-Target", "AWSStepFunctions.TestState")
		req.Header.Set("Content-Type", "application/x-amz-json-1.0")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != 200 || !strings.Contains(string(b), `"output":"7"`) {
			t.Errorf("%s: %s %s %v", host, res.Status, b, err)
		}
	}
}
