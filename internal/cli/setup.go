package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/mayfly-run/mayfly/internal/daemon"
	"github.com/mayfly-run/mayfly/spark"
)

// sparkOptions say which Spark the settings mean.
func sparkOptions(s daemon.Settings) spark.Options {
	return spark.Options{Version: s.SparkVersion, CacheDir: s.CacheDir, SparkHome: s.SparkHome}
}

func (a *app) setup() *cobra.Command {
	var version string
	c := &cobra.Command{
		Use: "setup", Short: "Bring Spark, its Python environment and the AWS command line", Args: cobra.NoArgs,
		Long: "Setup brings Apache Spark, a private Python environment (pyspark, numpy, boto3, the AWS command line) and the S3A\n" +
			"jars into the user's cache directory, each jar checked against a list. It takes about two minutes and 1 GB, does only\n" +
			"what is not done yet, and may be interrupted.",
		RunE: func(c *cobra.Command, _ []string) error {
			settings, _, err := a.settings(c)
			if err != nil {
				return err
			}
			o := sparkOptions(settings)
			if version != "" {
				o.Version = version
			}
			p := a.progress()
			in, err := spark.Setup(c.Context(), o, func(step spark.Progress) { p.step(step.Fraction, step.Text) })
			p.close()
			if err != nil {
				return err
			}
			size, err := in.Size()
			if err != nil {
				return err
			}
			if a.output == "json" {
				return a.json(map[string]any{"version": in.Version, "dir": in.Dir, "sparkHome": in.Home, "python": in.Python,
					"java": in.Java.Home, "aws": in.AWS(), "bytes": size})
			}
			fmt.Fprintf(a.out, "Spark %s is ready in %s (%d MB)\n", in.Version, in.Dir, size>>20)
			return nil
		},
	}
	settingFlags(c, "cache", "spark-version", "spark-home")
	c.Flags().StringVar(&version, "version", "", "same as --spark-version: one of "+strings.Join(spark.Versions(), ", "))
	return c
}

// progress shows how far something is: a bar on a terminal, a line for each new text elsewhere.
type progress struct {
	out   io.Writer
	bar   bool
	width int
	last  string
}

func (a *app) progress() *progress {
	p := &progress{out: a.err, width: 80}
	if f, ok := a.err.(*os.File); ok && term.IsTerminal(int(f.Fd())) && a.getenv("TERM") != "dumb" {
		p.bar = true
		if w, _, err := term.GetSize(int(f.Fd())); err == nil {
			p.width = w
		}
	}
	return p
}

func (p *progress) step(fraction float64, text string) {
	fraction = min(max(fraction, 0), 1)
	if !p.bar {
		if text != p.last {
			p.last = text
			fmt.Fprintf(p.out, "%3.0f %%  %s\n", fraction*100, text)
		}
		return
	}
	const cells = 24
	full := int(fraction * cells)
	fmt.Fprintf(p.out, "\r\x1b[K%s", clip(fmt.Sprintf("%s%s %3.0f %%  %s", strings.Repeat("█", full), strings.Repeat("░", cells-full), fraction*100, text), p.width-1))
}

func (p *progress) close() {
	if p.bar {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
