//! A CONNECT proxy.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::wire::PATIENCE;

/// A proxy that answers CONNECT like this, and then passes bytes on when it said 200. What it was asked.
pub fn start(answer: &'static str) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let (tell, told) = channel();
    thread::spawn(move || {
        for mut caller in listener.incoming().flatten() {
            let tell = tell.clone();
            thread::spawn(move || {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && caller.read_exact(&mut byte).is_ok() {
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let _ = tell.send(head);
                let _ = caller.write_all(answer.as_bytes());
                if !answer.contains(" 200 ") {
                    thread::sleep(PATIENCE);
                    return;
                }
                let Ok(vendor) = TcpStream::connect(target) else { return };
                let (mut from, mut to) = (vendor.try_clone().expect("a socket"), caller.try_clone().expect("a socket"));
                thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
                let _ = std::io::copy(&mut caller, &mut &vendor);
                let _ = vendor.shutdown(Shutdown::Both);
            });
        }
    });
    (url, told)
}
