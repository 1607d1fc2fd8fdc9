package sigv4

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-run/mayfly/internal/identity"
)

func read(t testing.TB, text string) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(text, "\n", "\r\n") + "\r\n\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const s3Key, s3Secret = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

// The examples that AWS publishes: the Signature Version 4 test suite, and "Signature Calculations" of the S3 API Reference.
var published = []struct {
	name, secret, at, request string
}{
	{"get-vanilla", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20150830T123600Z", `GET / HTTP/1.1
Host: example.amazonaws.com
X-Amz-Date: 20150830T123600Z
Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31`},
	{"get-vanilla-query-order-key-case", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20150830T123600Z", `GET /?Param2=value2&Param1=value1 HTTP/1.1
Host: example.amazonaws.com
X-Amz-Date: 20150830T123600Z
Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature=b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500`},
	{"s3 get object", s3Secret, "20130524T000000Z", `GET /test.txt HTTP/1.1
Host: examplebucket.s3.amazonaws.com
Range: bytes=0-9
x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
x-amz-date: 20130524T000000Z
Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41`},
	{"s3 put object", s3Secret, "20130524T000000Z", `PUT /test%24file.text HTTP/1.1
Host: examplebucket.s3.amazonaws.com
Date: Fri, 24 May 2013 00:00:00 GMT
x-amz-date: 20130524T000000Z
x-amz-storage-class: REDUCED_REDUNDANCY
x-amz-content-sha256: 44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072
Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class,Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd`},
	{"s3 list objects", s3Secret, "20130524T000000Z", `GET /?max-keys=2&prefix=J HTTP/1.1
Host: examplebucket.s3.amazonaws.com
x-amz-date: 20130524T000000Z
x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7`},
	{"s3 presigned", s3Secret, "20130524T000100Z", `GET /test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404 HTTP/1.1
Host: examplebucket.s3.amazonaws.com`},
}

func TestPublishedExamples(t *testing.T) {
	for _, c := range published {
		t.Run(c.name, func(t *testing.T) {
			r := read(t, c.request)
			s, err := Parse(r)
			if err != nil || s == nil {
				t.Fatal(s, err)
			}
			at, _ := time.Parse(dateForm, c.at)
			if err := s.Verify(r, c.secret, PayloadHash(r, nil), at); err != nil {
				t.Error(err)
			}
			if err := s.Verify(r, c.secret+"x", PayloadHash(r, nil), at); !errors.Is(err, ErrMismatch) {
				t.Errorf("wrong secret: %v", err)
			}
			late := at.Add(48 * time.Hour)
			if err := s.Verify(r, c.secret, PayloadHash(r, nil), late); !errors.Is(err, ErrExpired) && !errors.Is(err, ErrSkewed) {
				t.Errorf("two days late: %v", err)
			}
			r.Method = "POST"
			if err := s.Verify(r, c.secret, PayloadHash(r, nil), at); !errors.Is(err, ErrMismatch) {
				t.Errorf("other method: %v", err)
			}
		})
	}
}

// TestOwnSignatures: what Sign and Presign make, Verify accepts as the server receives it.
func TestOwnSignatures(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c := identity.Credentials{AccessKeyID: "AKIA1", SecretAccessKey: "secret", SessionToken: "token+/="}
	for _, service := range []string{"s3", "states", "lambda"} {
		for _, path := range []string{"/", "/b/a%20b/%C3%BC?x=1&y=a%20b&uploads", "/functions/arn%3Aaws%3Ax/run?Qualifier=%24LATEST"} {
			body := "body"
			r := httptest.NewRequest("POST", "http://127.0.0.1:4566"+path, strings.NewReader(body))
			r.Header.Set("X-Amz-Target", "A.B")
			Sign(r, c, "eu-west-1", service, []byte(body), false, now)
			s, err := Parse(r)
			if err != nil || s.AccessKeyID != c.AccessKeyID || s.SessionToken != c.SessionToken || s.Region != "eu-west-1" || s.Service != service {
				t.Fatal(s, err)
			}
			if err := s.Verify(r, "secret", PayloadHash(r, []byte(body)), now.Add(time.Minute)); err != nil {
				t.Errorf("%s %s: %v", service, path, err)
			}
			r.Header.Set("X-Amz-Target", "A.C")
			if err := s.Verify(r, "secret", PayloadHash(r, []byte(body)), now); !errors.Is(err, ErrMismatch) {
				t.Errorf("%s %s, changed: %v", service, path, err)
			}

			u, _ := url.Parse("http://127.0.0.1:4566" + path)
			Presign("GET", u, c, "eu-west-1", service, time.Hour, now)
			r = httptest.NewRequest("GET", u.String(), nil)
			if s, err = Parse(r); err != nil || !s.Presigned {
				t.Fatal(s, err)
			}
			if err := s.Verify(r, "secret", PayloadHash(r, nil), now.Add(59*time.Minute)); err != nil {
				t.Errorf("%s %s presigned: %v", service, path, err)
			}
			if err := s.Verify(r, "secret", PayloadHash(r, nil), now.Add(61*time.Minute)); !errors.Is(err, ErrExpired) {
				t.Errorf("%s %s presigned, late: %v", service, path, err)
			}
		}
	}
}

// Version 2, as boto3 presigns by default for an endpoint of one's own (recorded).
func TestVersion2(t *testing.T) {
	r := read(t, `GET /bkt/dir/a%20b?AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=SIG&Expires=1400000000 HTTP/1.1
Host: 127.0.0.1:4566`)
	want := signatureV2(r, s3Secret)
	r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "SIG", url.QueryEscape(want), 1)
	s, err := Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(r, s3Secret, "", time.Unix(1399999999, 0)); err != nil {
		t.Error(err)
	}
	if err := s.Verify(r, s3Secret, "", time.Unix(1400000001, 0)); !errors.Is(err, ErrExpired) {
		t.Error(err)
	}
	if err := s.Verify(r, "other", "", time.Unix(1399999999, 0)); !errors.Is(err, ErrMismatch) {
		t.Error(err)
	}
}

func TestMalformed(t *testing.T) {
	for _, auth := range []string{"Basic x", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=a/b, Signature=x", "AWS AKIA:sig",
		"AWS4-HMAC-SHA256 Credential=A/20200101/r/s/aws4_request, SignedHeaders=host, Signature=x"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", auth)
		if s, err := Parse(r); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v %v", auth, s, err)
		}
	}
	if s, err := Parse(httptest.NewRequest("GET", "/b/k", nil)); s != nil || err != nil {
		t.Error("unsigned:", s, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range published {
		f.Add(c.request)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(text, "\n", "\r\n") + "\r\n\r\n")))
		if err != nil {
			return
		}
		s, err := Parse(r)
		if err != nil || s == nil {
			return
		}
		if s.Verify(r, "a secret that nobody signed with", PayloadHash(r, nil), time.Unix(1369353660, 0)) == nil {
			t.Error("accepted")
		}
	})
}

// TestPublishedChunks: the examples of "Transferring Payload in Multiple Chunks", without and with a trailer.
func TestPublishedChunks(t *testing.T) {
	at := time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		request string
		chunks  []string
		trailer string
	}{
		"signed": {`PUT /examplebucket/chunkObject.txt HTTP/1.1
Host: s3.amazonaws.com
x-amz-date: 20130524T000000Z
x-amz-storage-class: REDUCED_REDUNDANCY
x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD
Content-Encoding: aws-chunked
x-amz-decoded-content-length: 66560
Content-Length: 66824
Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class,Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9`,
			[]string{"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648", "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497", "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"}, ""},
		"with a trailer": {`PUT /examplebucket/chunkObject.txt HTTP/1.1
Host: s3.amazonaws.com
x-amz-date: 20130524T000000Z
x-amz-storage-class: REDUCED_REDUNDANCY
x-amz-content-sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER
Content-Encoding: aws-chunked
x-amz-decoded-content-length: 66560
x-amz-trailer: x-amz-checksum-crc32c
Content-Length: 66824
Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer,Signature=106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e`,
			[]string{"b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2", "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7", "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992"},
			"d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"},
	} {
		r := read(t, c.request)
		s, err := Parse(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Verify(r, s3Secret, PayloadHash(r, nil), at); err != nil {
			t.Errorf("%s: the request: %v", name, err)
		}
		chunks := s.Chunks(s3Secret)
		for i, signature := range c.chunks {
			sum := sha256.Sum256(bytes.Repeat([]byte("a"), []int{65536, 1024, 0}[i]))
			if err := chunks.Chunk(c.chunks[(i+1)%3], sum[:]); !errors.Is(err, ErrMismatch) {
				t.Errorf("%s: chunk %d by another's signature: %v", name, i, err)
			}
			if err := chunks.Chunk(signature, sum[:]); err != nil {
				t.Errorf("%s: chunk %d: %v", name, i, err)
			}
		}
		if c.trailer != "" {
			if err := chunks.Trailer(c.trailer, "x-amz-checksum-crc32c:sOO8/Q==\n"); err != nil {
				t.Errorf("%s: the trailer: %v", name, err)
			}
		}
	}
}
