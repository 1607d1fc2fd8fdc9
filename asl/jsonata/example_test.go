package jsonata_test

import (
	"fmt"

	"github.com/mayfly-run/mayfly/asl/jsonata"
	"github.com/mayfly-run/mayfly/internal/jsonvalue"
)

func Example() {
	p, err := jsonata.Compile("$sum(orders.(price * quantity))")
	if err != nil {
		fmt.Println(err)
		return
	}
	input := jsonvalue.MustParse(`{"orders": [{"price": 10, "quantity": 2}, {"price": 2.5, "quantity": 4}]}`)
	fmt.Println(p.Eval(input, nil, jsonata.Env{}))
	// Output: 30 <nil>
}
