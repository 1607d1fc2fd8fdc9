package emr

import (
	"regexp"
	"strings"
)

// The lines of a driver's log that name an exception. The last one is the root cause: Java ends a chain with its
// deepest "Caused by", and Python ends a traceback with the exception itself.
var exceptionLines = []*regexp.Regexp{
	regexp.MustCompile(`^Caused by: (.+)$`),
	regexp.MustCompile(`^Exception in thread "[^"]*" (.+)$`),
	regexp.MustCompile(`^: ((?:[\w$]+\.)+[\w$]*(?:Exception|Error)\b.*)$`), // what py4j quotes of Java
	regexp.MustCompile(`^((?:[A-Za-z_][\w$]*\.)*[A-Za-z_][\w$]*(?:Error|Exception|Interrupt|Exit|Warning)(?:: .*)?)$`),
	regexp.MustCompile(`^(?:Error: |mayfly: )(.+)$`),
	regexp.MustCompile(`^(.*: (?:not found|No such file or directory|command not found|Permission denied))$`),
}

// wrappers are exceptions that only say that another one follows in the lines below.
var wrapper = regexp.MustCompile(`^(?:pyspark\.errors\.exceptions\.captured\.PythonException|py4j\.protocol\.Py4JJavaError|org\.apache\.spark\.api\.python\.PythonException)\b`)

const maxMessage = 1000

// rootCause finds the exception that ended a program in what it wrote to stderr, or "".
func rootCause(log string) string {
	best, wrapped := "", ""
	for line := range strings.Lines(log) {
		line = strings.TrimRight(line, "\r\n ")
		for _, e := range exceptionLines {
			m := e.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			if wrapper.MatchString(m[1]) {
				wrapped = m[1]
			} else {
				best = m[1]
			}
			break
		}
	}
	if best == "" {
		best = wrapped
	}
	if len(best) > maxMessage {
		best = strings.ToValidUTF8(best[:maxMessage], "") + "…"
	}
	return best
}

// failureOf finds the exception that ended a program, and the log file that shows it. Spark sends what a Python driver
// writes to stderr to its stdout, so a traceback there comes first.
func failureOf(stdout, stderr string) (message, file string) {
	if i := strings.LastIndex(stdout, "Traceback (most recent call last):"); i >= 0 {
		if m := rootCause(stdout[i:]); m != "" {
			return m, "stdout"
		}
	}
	// Python shows errors of syntax without a traceback.
	lines := strings.Split(strings.TrimRight(stdout, "\n"), "\n")
	if m := syntaxError.FindString(lines[len(lines)-1]); m != "" {
		return m, "stdout"
	}
	return rootCause(stderr), "stderr"
}

var syntaxError = regexp.MustCompile(`^(?:SyntaxError|IndentationError|TabError): .*$`)

// reasonOf is the short class that DescribeStep shows before the message.
func reasonOf(message string) string {
	switch {
	case strings.Contains(message, "FileAlreadyExistsException"), strings.Contains(message, "PATH_ALREADY_EXISTS"):
		return "Output directory already exists."
	case strings.Contains(message, "PATH_NOT_FOUND"), strings.Contains(message, "InvalidInputException"), strings.Contains(message, "NoSuchBucket"),
		strings.Contains(message, "FileNotFoundException"), strings.Contains(message, "NoSuchKey"):
		return "Input path does not exist."
	case strings.Contains(message, "OutOfMemoryError"), strings.Contains(message, "MemoryError"):
		return "Out of memory."
	}
	return "Unknown Error."
}
