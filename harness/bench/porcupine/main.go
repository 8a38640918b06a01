// Judges one history of registers with Porcupine, for harness/bench/checkers_linear.py to compare with.
//
//	porcupine SECONDS < HISTORY
//
// A line of HISTORY is "client begin end key f a b": f is r (read a), w (write a) or c (replaced a by b); values are
// integers, 0 the initial one. Prints "Ok|Illegal|Unknown SECONDS": the verdict (Unknown: not within the time given)
// and the CPU time of the check, reading not counted.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/anishathalye/porcupine"
)

type call struct {
	key  int
	f    byte
	a, b int
}

var registers = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[int]int{}
		var parts [][]porcupine.Operation
		for _, operation := range history {
			key := operation.Input.(call).key
			at, known := byKey[key]
			if !known {
				at = len(parts)
				byKey[key] = at
				parts = append(parts, nil)
			}
			parts[at] = append(parts[at], operation)
		}
		return parts
	},
	Init: func() interface{} { return 0 },
	Step: func(state, input, output interface{}) (bool, interface{}) {
		held, asked := state.(int), input.(call)
		switch asked.f {
		case 'r':
			return held == asked.a, held
		case 'c':
			return held == asked.a, asked.b
		default:
			return true, asked.a
		}
	},
}

func cpu() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

func read(from io.Reader) ([]porcupine.Operation, error) {
	var history []porcupine.Operation
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		var client int
		var begin, end int64
		var f string
		var one call
		if _, err := fmt.Sscan(lines.Text(), &client, &begin, &end, &one.key, &f, &one.a, &one.b); err != nil {
			return nil, fmt.Errorf("%q: %w", lines.Text(), err)
		}
		one.f = f[0]
		history = append(history, porcupine.Operation{ClientId: client, Input: one, Call: begin, Output: nil, Return: end})
	}
	return history, lines.Err()
}

func main() {
	seconds, err := strconv.ParseFloat(os.Args[1], 64)
	if err != nil {
		panic(err)
	}
	history, err := read(os.Stdin)
	if err != nil {
		panic(err)
	}
	start := cpu()
	result := porcupine.CheckOperationsTimeout(registers, history, time.Duration(seconds*float64(time.Second)))
	fmt.Println(result, cpu()-start)
}
