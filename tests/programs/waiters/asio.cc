// SPDX-License-Identifier: MIT
// Boost.Asio, whose descriptors are in the epoll set, edge-triggered, from the moment they are
// opened: asio ADDRESS PORT CLOSED COUNT, against an echo server. Three threads, all connections at
// once, every tenth to a closed port; each sends its number and expects it back. Prints how many
// ended in which way.
#include <boost/asio.hpp>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

using boost::asio::ip::tcp;
using boost::system::error_code;

static std::mutex ends_mutex;
static std::map<std::string, int> ends;

static void ended(const std::string &how)
{
	std::lock_guard<std::mutex> lock(ends_mutex);

	ends[how]++;
}

struct connection : std::enable_shared_from_this<connection> {
	tcp::socket socket;
	std::string sent;
	std::vector<char> got;

	connection(boost::asio::io_context &io, int number)
		: socket(boost::asio::make_strand(io)), sent(std::to_string(number)), got(sent.size())
	{
	}

	void start(const tcp::endpoint &server)
	{
		auto self = shared_from_this();

		socket.open(server.protocol());
		socket.async_connect(server, [self](error_code e) { self->connected(e); });
	}

	void connected(error_code e)
	{
		auto self = shared_from_this();

		if (e)
			return ended(e.message());
		boost::asio::async_read(socket, boost::asio::buffer(got),
					[self](error_code e2, size_t) { self->read(e2); });
		boost::asio::async_write(socket, boost::asio::buffer(sent), [](error_code e2, size_t) {
			if (e2)
				ended("write: " + e2.message());
		});
	}

	void read(error_code e)
	{
		if (e)
			return ended("read: " + e.message());
		if (std::string(got.begin(), got.end()) != sent)
			return ended("WRONG");
		ended("echoed by " + socket.remote_endpoint().address().to_string());
	}
};

int main(int, char **argv)
{
	auto address = boost::asio::ip::make_address(argv[1]);
	tcp::endpoint echo(address, static_cast<unsigned short>(atoi(argv[2])));
	tcp::endpoint closed(address, static_cast<unsigned short>(atoi(argv[3])));
	boost::asio::io_context io;
	std::vector<std::thread> threads;

	for (int i = 0; i < atoi(argv[4]); i++)
		std::make_shared<connection>(io, i)->start(i % 10 == 9 ? closed : echo);
	for (int i = 0; i < 3; i++)
		threads.emplace_back([&io] { io.run(); });
	for (auto &thread : threads)
		thread.join();
	for (auto &end : ends)
		printf("%d %s\n", end.second, end.first.c_str());
}
