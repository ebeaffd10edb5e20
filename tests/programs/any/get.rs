// SPDX-License-Identifier: MIT
// get ADDRESS:PORT N AT-ONCE: /who by N connections, so many at once, each by a thread; "N answers: WHO" for each
// kind of answer. Rust's std, linked statically.
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

fn get(server: SocketAddr, timeout: bool) -> std::io::Result<String> {
    // connect_timeout() does not block, and waits by poll()
    let mut stream = if timeout {
        TcpStream::connect_timeout(&server, Duration::from_secs(30))?
    } else {
        TcpStream::connect(server)?
    };
    let mut text = String::new();
    assert_eq!(stream.peer_addr()?, server);
    stream.write_all(b"GET /who HTTP/1.0\r\n\r\n")?;
    stream.read_to_string(&mut text)?;
    Ok(text.split("\r\n\r\n").nth(1).unwrap_or("no body").trim().to_string())
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let server: SocketAddr = words[1].parse().unwrap();
    let n: usize = words[2].parse().unwrap();
    let at_once: usize = words[3].parse().unwrap();
    let threads: Vec<_> = (0..at_once)
        .map(|i| {
            std::thread::spawn(move || {
                (i..n)
                    .step_by(at_once)
                    .map(|k| get(server, k % 2 == 0).unwrap_or_else(|e| e.to_string()))
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let mut answers = BTreeMap::new();
    for thread in threads {
        for answer in thread.join().unwrap() {
            *answers.entry(answer).or_insert(0) += 1;
        }
    }
    for (answer, count) in answers {
        println!("{} answers: {}", count, answer);
    }
}
