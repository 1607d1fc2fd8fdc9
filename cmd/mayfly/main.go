// Command mayfly serves AWS Step Functions, EMR with real Spark, and the APIs around them on one machine.
package main

import (
	"os"

	"github.com/mayfly-run/mayfly/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
