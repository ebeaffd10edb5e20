// SPDX-License-Identifier: MIT

// get URL N AT: N requests, AT at once, a connection for each, by net/http.
// "N answers: TEXT..." and how many threads there were.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"time"
)

func main() {
	n, _ := strconv.Atoi(os.Args[2])
	at, _ := strconv.Atoi(os.Args[3])
	client := &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true},
		Timeout:   100 * time.Second,
	}
	answers := map[string]int{}
	work := make(chan int)
	var workers sync.WaitGroup
	var lock sync.Mutex

	for i := 0; i < at; i++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for range work {
				text := get(client, os.Args[1])
				lock.Lock()
				answers[text]++
				lock.Unlock()
			}
		}()
	}
	for i := 0; i < n; i++ {
		work <- i
	}
	close(work)
	workers.Wait()
	for text, times := range answers {
		fmt.Printf("%d answers: %s\n", times, text)
	}
	fmt.Printf("%d threads\n", pprof.Lookup("threadcreate").Count())
}

func get(client *http.Client, url string) string {
	r, err := client.Get(url)
	if err != nil {
		return err.Error()
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(body))
}
