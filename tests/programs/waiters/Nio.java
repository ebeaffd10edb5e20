// SPDX-License-Identifier: MIT
// Java's selectors: Nio.java ADDRESS PORT CLOSED COUNT, against an echo server. All connections at
// once, every tenth to a closed port; each sends its number and expects it back. Then one blocking
// java.net.Socket of each kind. Prints how many ended in which way.
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.util.Map;
import java.util.TreeMap;

public class Nio {
	static final Map<String, Integer> ends = new TreeMap<>();
	static Selector selector;
	static int open;

	static class Connection {
		final ByteBuffer sent, got;

		Connection(int number) {
			sent = ByteBuffer.wrap(String.format("%8d", number).getBytes());
			got = ByteBuffer.allocate(8);
		}
	}

	static void ended(String how) {
		ends.merge(how, 1, Integer::sum);
	}

	static void step(SelectionKey key) throws IOException {
		SocketChannel channel = (SocketChannel)key.channel();
		Connection c = (Connection)key.attachment();

		if (key.isConnectable() && channel.finishConnect())
			key.interestOps(SelectionKey.OP_WRITE);
		else if (key.isWritable() && channel.write(c.sent) >= 0 && !c.sent.hasRemaining())
			key.interestOps(SelectionKey.OP_READ);
		else if (key.isReadable() && channel.read(c.got) >= 0 && !c.got.hasRemaining()) {
			String peer = channel.getRemoteAddress().toString();
			end(key, (c.got.flip().equals(c.sent.flip()) ? "echoed by " : "WRONG from ") + peer);
		}
	}

	static void end(SelectionKey key, String how) throws IOException {
		ended(how);
		key.channel().close();
		open--;
	}

	static void blocking(InetSocketAddress server, int limitMs) {
		try (Socket socket = new Socket()) {
			socket.connect(server, limitMs);
			socket.getOutputStream().write("blocking".getBytes());
			ended("blocking: " + new String(socket.getInputStream().readNBytes(8)));
		} catch (IOException e) {
			ended("blocking: " + e);
		}
	}

	public static void main(String[] args) throws IOException {
		InetSocketAddress echo = new InetSocketAddress(args[0], Integer.parseInt(args[1]));
		InetSocketAddress closed = new InetSocketAddress(args[0], Integer.parseInt(args[2]));

		selector = Selector.open();
		for (int i = 0; i < Integer.parseInt(args[3]); i++) {
			SocketChannel channel = SocketChannel.open();

			channel.configureBlocking(false);
			channel.register(selector, SelectionKey.OP_CONNECT, new Connection(i));
			channel.connect(i % 10 == 9 ? closed : echo);
			open++;
		}
		while (open > 0) {
			if (selector.select(20000) == 0)
				throw new IOException("nothing happens any more, open: " + open);
			for (SelectionKey key : selector.selectedKeys()) {
				try {
					step(key);
				} catch (IOException e) {
					end(key, e.toString());
				}
			}
			selector.selectedKeys().clear();
		}
		for (InetSocketAddress server : new InetSocketAddress[] { echo, closed }) {
			blocking(server, 0);
			blocking(server, 10000);
		}
		ends.forEach((how, number) -> System.out.println(number + " " + how));
	}
}
