// Command generate writes a data set: go run ./pipelines/emr/traffic/generate -seed 7 -dir data
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/mayfly-run/mayfly/pipelines/emr/traffic"
)

func main() {
	seed := flag.Uint64("seed", 1, "equal seeds make equal bytes")
	dir := flag.String("dir", "traffic-data", "folder for the files")
	full := flag.Bool("full", false, "the size by which the detector is judged")
	flag.Parse()
	c := traffic.Default(*seed)
	if *full {
		c = traffic.Full(*seed)
	}
	d, err := traffic.Generate(c)
	if err == nil {
		err = d.Write(*dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("%d rows, %d faults, %d incidents in %s\n", len(d.Readings), len(d.Faults), len(d.Incidents), *dir)
}
