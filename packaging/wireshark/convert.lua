-- SPDX-License-Identifier: MIT
--
-- TCP Convert for Wireshark and tshark (4.0 and later): RFC 8803, draft-ietf-tcpm-converters-02, and
-- what was spoken between the two, here called hybrid. What follows the message in either direction
-- goes to the dissector of the server's own port, or to whoever knows it by its looks. Every packet
-- of a connection knows its server:
--
--     tshark -X lua_script:convert.lua -r FILE -Y 'convert.server == 10.2.0.2 and http.request'
--
-- Wireshark finds it by itself in ~/.local/lib/wireshark/plugins/. Preferences: convert.ports (5124),
-- convert.secrets (no: cookies and keys are shown as "present").
--
-- Where a piece of data lies in its direction's stream decides what it is, not what came before: a
-- message may be in the SYN and once more behind it, or on another subflow.

local convert = Proto("convert", "TCP Convert")

-- ------------------------------------------------------------------------------ names

local TLV_INFO, TLV_CONNECT, TLV_HEADER, TLV_SUPPORTED, TLV_COOKIE, TLV_ERROR = 1, 10, 20, 21, 22, 30
local MAGIC = 0x2263
local RFC, DRAFT, HYBRID, EITHER = "rfc8803", "draft-02", "hybrid", "draft-02 or hybrid"

local TLVS = {
	[TLV_INFO] = "Info (Bootstrap)", [TLV_CONNECT] = "Connect",
	[TLV_HEADER] = "Extended TCP Header", [TLV_SUPPORTED] = "Supported TCP Extensions",
	[TLV_COOKIE] = "Cookie", [TLV_ERROR] = "Error",
}

local ERRORS = {
	[0] = "Unsupported Version", [1] = "Malformed Message", [2] = "Unsupported Message",
	[3] = "Missing Cookie", [32] = "Not Authorized", [33] = "Unsupported TCP Option",
	[64] = "Resource Exceeded", [65] = "Network Failure", [96] = "Connection Reset",
	[97] = "Destination Unreachable",
}

local OPTIONS = {
	[0] = "End of List", [1] = "No-Operation", [2] = "Maximum Segment Size", [3] = "Window Scale",
	[4] = "SACK-Permitted", [5] = "SACK", [8] = "Timestamps", [19] = "MD5 Signature",
	[27] = "Quick-Start", [28] = "User Timeout", [29] = "TCP-AO", [30] = "Multipath TCP",
	[34] = "Fast Open", [69] = "Encryption Negotiation", [253] = "Experiment 1",
	[254] = "Experiment 2",
}

local SUBTYPES = {
	[0] = "MP_CAPABLE", "MP_JOIN", "DSS", "ADD_ADDR", "REMOVE_ADDR", "MP_PRIO", "MP_FAIL",
	"MP_FASTCLOSE", "MP_TCPRST",
}

local UNREACHABLE = { -- by the server's family
	[4] = { [0] = "network", "host", "protocol", "port", "fragmentation needed",
		"source route failed", "network unknown", "host unknown", "source host isolated",
		"network prohibited", "host prohibited", "network, for this service",
		"host, for this service", "administratively prohibited", "host precedence",
		"precedence cut-off" },
	[6] = { [0] = "no route", "administratively prohibited", "beyond the source's scope",
		"address", "port", "source address failed policy", "rejected by route",
		"error in the source routing header" },
}

-- ----------------------------------------------------------------------------- fields

local FT = ProtoField
local f = {
	version = FT.uint8("convert.version", "Version"),
	length = FT.uint8("convert.length", "Total Length", base.DEC, nil, nil, "In words of 4 bytes"),
	magic = FT.uint16("convert.magic", "Magic Number", base.HEX, { [0] = "none", [MAGIC] = "RFC 8803" }),

	tlv = FT.none("convert.tlv", "TLV"),
	tlv_type = FT.uint8("convert.tlv.type", "Type", base.DEC, TLVS),
	tlv_length = FT.uint8("convert.tlv.length", "Length", base.DEC, nil, nil,
		"In words of 4 bytes, type and length included"),
	unassigned = FT.uint16("convert.tlv.unassigned", "Unassigned", base.HEX),
	padding = FT.bytes("convert.tlv.padding", "Padding"),
	value = FT.bytes("convert.tlv.value", "Value"),

	connect_port = FT.uint16("convert.connect.port", "Remote Peer Port"),
	connect_address = FT.ipv6("convert.connect.address", "Remote Peer IP Address"),
	supported = FT.uint8("convert.supported", "Supported", base.DEC, OPTIONS),
	cookie = FT.bytes("convert.cookie", "Cookie"),
	has_cookie = FT.bool("convert.cookie.present", "Cookie present"),

	option = FT.uint8("convert.option", "TCP option", base.DEC, OPTIONS),
	option_length = FT.uint8("convert.option.length", "Length"),
	option_value = FT.bytes("convert.option.value", "Value"),
	mss = FT.uint16("convert.option.mss", "Maximum Segment Size"),
	shift = FT.uint8("convert.option.window_scale", "Shift count"),
	ts_value = FT.uint32("convert.option.timestamp", "Timestamp"),
	ts_echo = FT.uint32("convert.option.timestamp_echo", "Timestamp echo"),
	subtype = FT.uint8("convert.option.mptcp.subtype", "Subtype", base.DEC, SUBTYPES, 0xf0),
	mp_version = FT.uint8("convert.option.mptcp.version", "Version", base.DEC, nil, 0x0f),
	mp_flags = FT.uint8("convert.option.mptcp.flags", "Flags", base.HEX),
	key = FT.bytes("convert.option.mptcp.key", "Keys and what follows"),
	has_key = FT.bool("convert.option.mptcp.key.present", "Key present"),
	tfo_cookie = FT.bytes("convert.option.fast_open.cookie", "Fast Open cookie"),
	has_tfo_cookie = FT.bool("convert.option.fast_open.cookie.present", "Fast Open cookie present"),

	code = FT.uint8("convert.error.code", "Error Code", base.DEC, ERRORS),
	error_value = FT.bytes("convert.error.value", "Value"),
	error_version = FT.uint8("convert.error.version", "Version that is supported"),
	error_kind = FT.uint8("convert.error.option", "Option that is not supported", base.DEC, OPTIONS),
	error_delay = FT.uint64("convert.error.delay", "Seconds to stay away",  base.DEC, nil, nil,
		"0: at least 30"),
	error_icmp = FT.uint8("convert.error.icmp_code", "ICMP code"),
	part = FT.bytes("convert.part", "Part of a message"),

	-- of the connection, on each of its packets
	server = FT.ipv4("convert.server", "Server"),
	server6 = FT.ipv6("convert.server6", "Server"),
	server_port = FT.uint16("convert.server_port", "Server's port"),
	to = FT.string("convert.to", "Server and port", base.ASCII, "Of either family, for a column"),
	dialect = FT.string("convert.dialect", "Dialect", base.ASCII,
		RFC .. ", " .. DRAFT .. ", " .. HYBRID .. ", or what is not told apart yet"),
	error = FT.uint8("convert.error", "Error", base.DEC, ERRORS),
	in_syn = FT.bool("convert.in_syn", "Message in the SYN"),
	request_in = FT.framenum("convert.request_in", "Client's message in", base.NONE, frametype.REQUEST),
	reply_in = FT.framenum("convert.reply_in", "Converter's message in", base.NONE, frametype.RESPONSE),
	time = FT.relative_time("convert.time", "Time from the client's message to the reply"),
}
convert.fields = f

local wrong = ProtoExpert.new("convert.wrong", "Not as it should be", expert.group.PROTOCOL,
	expert.severity.WARN)
local refused = ProtoExpert.new("convert.refused", "The converter refuses", expert.group.RESPONSE_CODE,
	expert.severity.NOTE)
convert.experts = { wrong, refused }

convert.prefs.ports = Pref.range("TCP ports", "5124", "Where converters listen", 65535)
convert.prefs.secrets = Pref.bool("Show cookies and keys", false,
	"Else only that they are there; the packet's bytes have them in any case")

-- ------------------------------------------------------------------- one whole message

-- What of it was read goes to m, which about() and the columns read. tvb: from its first byte on;
-- quoted: inside an Error, where it may have been cut.
local message

local function name(names, number)
	return names[number] or ("unknown (%d)"):format(number)
end

-- PDML has the bytes of an item beside its text, so a secret's item has none. Whoever holds it is
-- cut to its head (m.hides).
local function secret(m, item, present, field, range)
	if convert.prefs.secrets then
		item:add(field, range)
	else
		item:add(present, true):set_generated()
		m.hides = true
	end
end

-- What is cut may be a secret.
local function add_part(tree, range)
	if convert.prefs.secrets then return tree:add(f.part, range) end
	return tree:add(f.part, range(0, 0)):set_text(("Part of a message: %d bytes"):format(range:len()))
end

local function complain(m, item, text)
	item:add_proto_expert_info(wrong, text)
	m.wrong = m.wrong or text
end

local OPTION = {
	[2] = function(_, item, range) item:add(f.mss, range(0, 2)) end,
	[3] = function(_, item, range) item:add(f.shift, range(0, 1)) end,
	[8] = function(_, item, range)
		item:add(f.ts_value, range(0, 4))
		item:add(f.ts_echo, range(4, 4))
	end,
	[30] = function(m, item, range)
		item:add(f.subtype, range(0, 1))
		item:append_text(", " .. name(SUBTYPES, range(0, 1):bitfield(0, 4)))
		item:add(f.mp_version, range(0, 1))
		if range:len() > 1 then item:add(f.mp_flags, range(1, 1)) end
		if range:len() > 2 then secret(m, item, f.has_key, f.key, range(2)) end
	end,
	[34] = function(m, item, range) secret(m, item, f.has_tfo_cookie, f.tfo_cookie, range) end,
}
local OPTION_SHORTEST = { [2] = 2, [3] = 1, [8] = 8, [30] = 1, [34] = 1 }

-- TCP options up to the end or a kind 0
local function options(m, tree, range)
	local at, len = 0, range:len()
	while at < len do
		local kind = range(at, 1):uint()
		if kind == 0 then
			tree:add(f.padding, range(at))
			return
		end
		local size = kind == 1 and 1 or at + 1 < len and range(at + 1, 1):uint() or 0
		local item = tree:add(f.option, range(at, 1))
		if size < (kind == 1 and 1 or 2) or at + size > len then
			return complain(m, item, "a TCP option that does not fit")
		end
		if kind ~= 1 then
			item:add(f.option_length, range(at + 1, 1))
		end
		if size > 2 then
			local value = range(at + 2, size - 2)
			local read = value:len() >= (OPTION_SHORTEST[kind] or 999) and OPTION[kind]
			if read then
				read(m, item, value)
			else
				item:add(f.option_value, value)
			end
		elseif kind == 30 or kind == 34 then
			item:append_text(", without content")
		end
		at = at + size
	end
end

-- a byte each, zeros are padding
local function list(tree, field, range)
	for at = 0, range:len() - 1 do
		if range(at, 1):uint() ~= 0 then
			tree:add(field, range(at, 1))
		end
	end
end

local function cookie(m, tree, range)
	secret(m, tree, f.has_cookie, f.cookie, range)
	tree:append_text((": present, %d bytes"):format(range:len()))
end

-- The offending message: where it begins tells the dialect.
local function echo(m, tree, range)
	local first = range(0, 1):uint()
	if m.magic == 0 and range:len() > 1 then
		m.says = first == 0 and HYBRID or first == 1 and DRAFT or nil
	end
	local quoted = range(first == 0 and range:len() > 1 and 1 or 0)
	if quoted:len() < 4 or quoted(0, 1):uint() ~= 1 then
		tree:add(f.error_value, range)
		return
	end
	local item = tree:add(convert, quoted, "The message that it means")
	local inner = message(quoted:tvb(), item, { to_converter = true, quoted = true })
	m.hides = m.hides or inner.hides
	if inner.hides then item:set_len(4) end
end

local ERROR = {
	[0] = function(_, tree, range) list(tree, f.error_version, range) end,
	[1] = echo,
	[2] = echo,
	[3] = function(m, tree, range)
		if range:len() > 1 then cookie(m, tree, range(1)) end
		if m.magic == 0 then m.says = HYBRID end
	end,
	[33] = function(m, tree, range)
		list(tree, f.error_kind, range)
		if m.magic == 0 and range:len() > 1 and range(1, 1):uint() ~= 0 then m.says = HYBRID end
	end,
	-- How wide the number is nobody says: all of the Value, as the client reads it.
	[64] = function(_, tree, range)
		local at = 0
		while range:len() - at > 8 and range(at, 1):uint() == 0 do at = at + 1 end
		if range:len() - at > 8 then
			tree:add(f.error_value, range)
		else
			tree:add(f.error_delay, range, range(at):uint64())
		end
	end,
	[97] = function(m, tree, range, about)
		local family = about.server6 and 6 or about.server and 4
		local item = tree:add(f.error_icmp, range(0, 1))
		local code = range(0, 1):uint()
		m.why = family and UNREACHABLE[family][code] or ("ICMP code %d"):format(code)
		item:append_text(family and (" (%s)"):format(m.why) or "")
	end,
}
ERROR[65] = ERROR[64]

local TLV = {
	[TLV_INFO] = function(m, tree, range)
		m.info = true
		tree:add(f.unassigned, range(2, 2))
	end,
	[TLV_CONNECT] = function(m, tree, range)
		tree:add(f.connect_port, range(2, 2))
		tree:add(f.connect_address, range(4, 16))
		m.port = range(2, 2):uint()
		if range(4, 12):bytes():tohex() == "00000000000000000000FFFF" then
			m.server = range(16, 4):ipv4()
			m.to = ("%s:%d"):format(m.server, m.port)
		else
			m.server6 = range(4, 16):ipv6()
			m.to = ("[%s]:%d"):format(m.server6, m.port)
		end
		tree:append_text(" to " .. m.to)
		if range:len() > 20 then options(m, tree, range(20)) end
	end,
	[TLV_HEADER] = function(m, tree, range)
		m.header = true
		tree:add(f.unassigned, range(2, 2))
		if range:len() > 4 then options(m, tree, range(4)) end
	end,
	[TLV_SUPPORTED] = function(m, tree, range)
		m.supported = true
		tree:add(f.unassigned, range(2, 2))
		if range:len() > 4 then list(tree, f.supported, range(4)) end
	end,
	[TLV_COOKIE] = function(m, tree, range)
		tree:add(f.unassigned, range(2, 2))
		if range:len() > 4 then cookie(m, tree, range(4)) end
	end,
	[TLV_ERROR] = function(m, tree, range, about)
		m.error = range(2, 1):uint()
		tree:add(f.code, range(2, 1))
		tree:append_text((" %d, %s"):format(m.error, name(ERRORS, m.error)));
		(ERROR[m.error] or function() tree:add(f.error_value, range(3)) end)(m, tree, range(3), about)
	end,
}
local TLV_SHORTEST = { [TLV_CONNECT] = 5 }
-- what a client sends; a converter sends the others
local OF_CLIENTS = { [TLV_INFO] = true, [TLV_CONNECT] = true, [TLV_COOKIE] = true }

local function one_tlv(m, tree, range, about, seen)
	local kind, words = range(0, 1):uint(), range(1, 1):uint()
	local item = tree:add(f.tlv, range)
	local to_converter = about.to_converter
	item:set_text(("%s TLV"):format(name(TLVS, kind)))
	item:add(f.tlv_type, range(0, 1))
	item:add(f.tlv_length, range(1, 1))
	local is_supported = kind == TLV_COOKIE and not to_converter and m.magic == 0 -- draft-02, its IANA section
	local slot = is_supported and TLV_SUPPORTED or kind
	if seen[slot] then complain(m, item, "a second TLV of this type") end
	seen[slot] = true
	local outer = m.hides
	m.hides = false
	local read = TLV[kind]
	if is_supported then
		item:set_text("Supported TCP Extensions TLV, by its other number")
		read, m.says = TLV[TLV_SUPPORTED], DRAFT
	elseif kind == 0 then
		complain(m, item, "a TLV of type 0")
	elseif read and (to_converter or false) ~= (OF_CLIENTS[kind] or false) then
		complain(m, item, "a TLV of the other direction's")
	end
	if kind == TLV_COOKIE and to_converter and m.magic == 0 then m.says = HYBRID end
	if read and words >= (TLV_SHORTEST[kind] or 1) then
		read(m, item, range, about)
	elseif read then
		complain(m, item, "a TLV too short for its type")
	else
		item:add(f.value, range(2))
	end
	if m.hides then item:set_len(2) end
	m.hides = m.hides or outer
end

function message(tvb, tree, about)
	local m = { magic = tvb(2, 2):uint(), len = 4 * tvb(1, 1):uint() }
	local len = math.min(m.len, tvb:len())
	tree:add(f.version, tvb(0, 1))
	tree:add(f.length, tvb(1, 1)):append_text((" (%d bytes)"):format(m.len))
	tree:add(f.magic, tvb(2, 2))
	if tvb(0, 1):uint() ~= 1 then complain(m, tree, "of version " .. tvb(0, 1):uint()) end
	if m.len == 0 then complain(m, tree, "Total Length 0") end
	if m.magic ~= 0 and m.magic ~= MAGIC then complain(m, tree, "a wrong magic number") end
	if m.wrong then return m end

	local at, seen = 4, {}
	while at < len do
		local size = at + 1 < len and 4 * tvb(at + 1, 1):uint() or 0
		if size == 0 or at + size > len then
			local rest = add_part(tree, tvb(at, len - at))
			m.hides = m.hides or not convert.prefs.secrets
			if not about.quoted then
				complain(m, rest, size == 0 and "a TLV of length 0" or
					"a TLV that crosses the end of the message")
			end
			break
		end
		one_tlv(m, tree, tvb(at, size), about, seen)
		at = at + size
	end
	return m
end

-- ------------------------------------------------------------------------- connections

local get = {}
for key, field in pairs({ stream = "tcp.stream", mptcp = "mptcp.stream", seq = "tcp.seq",
	raw_seq = "tcp.seq_raw", syn = "tcp.flags.syn", fin = "tcp.flags.fin", rst = "tcp.flags.reset",
	payload = "tcp.payload", cause = "tcp.reset_cause", data_seq = "tcp.options.mptcp.rawdataseqno",
	flow_seq = "tcp.options.mptcp.subflowseqno" }) do
	get[key] = Field.new(field)
end

-- of the innermost TCP, if there is one in another
local function last(key)
	local all = { get[key]() }
	return all[#all]
end

local function value(key)
	local field = last(key)
	return field and field.value
end

local connections = {} -- by "tcp N" and "mptcp N"
local begins = {}      -- where in its direction's stream begins what was put together, by packet
local handled          -- the packet that the dissector was called for

function convert.init()
	connections, begins = {}, {}
end

-- ports: { [port] = true }
local ports = {}

-- tshark -2 without a filter reads the file a first time without any field: then the ends name the
-- connection, and what was handed over is counted. What matters of that time is what was put together.
local function name_of(pinfo)
	local stream = value("stream")
	if stream then return "tcp " .. stream end
	local one = ("%s %d"):format(pinfo.src, pinfo.src_port)
	local other = ("%s %d"):format(pinfo.dst, pinfo.dst_port)
	return one < other and one .. other or other .. one
end

local function connection_of(pinfo, make)
	local tcp, mptcp = name_of(pinfo), value("mptcp")
	mptcp = mptcp and "mptcp " .. mptcp
	local c = connections[tcp] or mptcp and connections[mptcp]
	if not c and make then
		-- A converter never speaks first; but a capture may begin with it.
		local to_converter = ports[pinfo.dst_port] or not ports[pinfo.src_port]
		c = { port = to_converter and pinfo.dst_port or pinfo.src_port, first = tcp, flows = {},
			client = to_converter and tostring(pinfo.src) or tostring(pinfo.dst),
			heads = { [true] = { follows = {} }, [false] = { follows = {} } } }
	end
	if c then
		connections[tcp] = c
		if mptcp then connections[mptcp] = c end
	end
	return c, tcp
end

local function is_to_converter(c, pinfo)
	if pinfo.src_port ~= pinfo.dst_port then
		return pinfo.dst_port == c.port
	end
	return tostring(pinfo.src) == c.client
end

-- One direction of one subflow: what was asked for again, and the packets that brought it.
local function flow_of(c, tcp, to_converter)
	local key = tcp .. tostring(to_converter)
	c.flows[key] = c.flows[key] or { count = 0, joined = tcp ~= c.first,
		to_converter = to_converter }
	return c.flows[key]
end

-- How many bytes the message has; nil: more are needed to say so; false: this is none.
local function length_of(tvb)
	local have = tvb:len()
	local version = tvb(0, 1):uint()
	local magic = have >= 4 and tvb(2, 2):uint()
	if magic == MAGIC then return math.max(4, version == 1 and 4 * tvb(1, 1):uint() or 4) end
	if version ~= 1 or (magic and magic ~= 0) then return false end
	return magic and math.max(4, 4 * tvb(1, 1):uint()) or nil
end

-- Where Multipath TCP has a mapping (DSS), its number counts: another subflow may carry what this one
-- has lost. The first one says which number its stream begins with; if it never got so far, what looks
-- like the converter's message does. What a SYN carries has no number, neither here nor there.
-- pos: in the subflow's own stream
local function mapped(tvb, flow, head, pos)
	local data, flow_seq = value("data_seq"), value("flow_seq")
	if not data or not flow_seq then
		return not flow.joined and pos or nil
	end
	data = type(data) == "number" and data or data:lower()
	if not flow.joined and not flow.shift then
		flow.shift = pos + 1 - flow_seq
		head.base = head.base or (data - pos) % 2 ^ 32
	end
	if not head.base and not flow.to_converter and length_of(tvb) ~= false then
		head.base = data
	end
	return head.base and (data - head.base + pos + 1 - flow_seq - (flow.shift or 0)) % 2 ^ 32
end

-- The offset of tvb's first byte in its direction's stream; nil if nobody can know.
local function position(tvb, pinfo, flow, head)
	if tvb:offset() == 0 then -- put together from several
		if not pinfo.visited then begins[pinfo.number] = flow.asked end
		return begins[pinfo.number]
	end
	local seq, payload = value("seq"), last("payload")
	if not seq then return flow.count end
	if value("raw_seq") == seq then -- not counted from the beginning: a preference
		flow.base = flow.base or seq + (value("syn") and 1 or 0)
		seq = (seq - flow.base + 1) % 2 ^ 32
	end
	local pos = (value("syn") and 0 or seq - 1) + (payload and tvb:offset() - payload.offset or 0)
	return mapped(tvb, flow, head, pos)
end

local function ask(pinfo, flow, pos, offset, len)
	pinfo.desegment_offset = offset
	pinfo.desegment_len = len
	if not pinfo.visited then flow.asked = pos + offset end
	flow.count = pos + offset
end

-- -------------------------------------------------------------- what the server's port says

local tcp_ports = DissectorTable.get("tcp.port")

local function dissector(called)
	local ok, found = pcall(Dissector.get, called)
	return ok and found or nil
end

local LOOKS = { -- the beginnings of either direction
	{ "^\22\3[\0-\4]", "tls" }, { "^PRI %* HTTP/2", "http2" }, { "^HTTP/1%.[01] ", "http" },
	{ "^%u+ [^\r\n]- HTTP/1%.[01]\r\n", "http" }, { "^SSH%-[12]%.", "ssh" },
}

local function looks_like(tvb)
	local text = tvb:raw(0, math.min(tvb:len(), 1024))
	for _, look in ipairs(LOOKS) do
		if text:find(look[1]) then return dissector(look[2]) end
	end
end

-- What goes wrong in another dissector it has marked itself.
local function try(found, tvb, pinfo, tree)
	if not found or tostring(found) == tostring(Dissector.get("convert")) then return false end
	local ok, bytes = pcall(found.call, found, tvb, pinfo, tree)
	return not ok or (bytes or 0) > 0
end

-- Over several subflows the pieces of a stream are in any order, and nobody puts them in the right one:
-- those that do not follow what was read are left as they are.
local function follows(c, head, flow, pinfo, pos, len)
	c.several = c.several or flow.joined
	local key = pinfo.number .. " " .. (pos or "?")
	if head.follows[key] == nil then
		head.follows[key] = not c.several or pos == head.next
	end
	if head.follows[key] and pos then head.next = pos + len end
	return head.follows[key]
end

-- offset: where in tvb the server's own stream goes on, which is byte pos of tvb's stream at 0.
local function hand_on(tvb, offset, pos, c, pinfo, tree, head, flow)
	local rest = offset == 0 and tvb or tvb(offset):tvb()
	if head.none then
		pinfo.can_desegment = 0
	elseif pinfo.can_desegment > 0 then
		pinfo.can_desegment = 2 -- each call takes one
	end
	if not follows(c, head, flow, pinfo, pos and pos + offset, rest:len()) then
		dissector("data"):call(rest, pinfo, tree)
		return
	end
	c.known = c.known or looks_like(rest)
	if not (try(c.server_port and tcp_ports:get_dissector(c.server_port), rest, pinfo, tree) or
		try(c.known, rest, pinfo, tree) or
		DissectorTable.try_heuristics("tcp", rest, pinfo, tree)) then
		dissector("data"):call(rest, pinfo, tree)
	end
	pinfo.conversation = convert -- a heuristic may have taken it for itself
	if pinfo.desegment_len ~= 0 and pos then
		ask(pinfo, flow, pos, pinfo.desegment_offset + offset, pinfo.desegment_len)
		head.next = pos + pinfo.desegment_offset
	end
end

-- ------------------------------------------------------------------------------ packets

local function about(c, item)
	local function add(field, what)
		if what ~= nil then item:add(field, what):set_generated() end
	end
	add(f.server, c.server)
	add(f.server6, c.server6)
	add(f.server_port, c.server_port)
	add(f.to, c.to)
	add(f.dialect, c.dialect)
	add(f.error, c.error)
	add(f.in_syn, c.in_syn)
	add(f.request_in, c.heads[true].frame)
	add(f.reply_in, c.heads[false].frame)
	add(f.time, c.time)
end

-- In draft-02 an Error beside the server's own options is a warning, and the connection works (A-01). In a
-- reset, and in the other dialects, every Error is the end.
local function is_warning(c, m)
	return m.error and m.header and m.magic == 0 and (m.says or c.dialect) ~= HYBRID and not value("rst")
end

local function learn(c, m, to_converter, pinfo)
	local head = c.heads[to_converter]
	if head.frame then return end -- again
	head.frame, head.len, head.at, head.next = pinfo.number, m.len, pinfo.rel_ts, m.len
	-- What the reply shows counts; what it leaves open, the client knows.
	local says = m.says or (m.magic == MAGIC and RFC or EITHER)
	if says ~= EITHER or not c.dialect or (c.dialect == RFC and not to_converter) then c.dialect = says end
	if to_converter then
		c.server, c.server6, c.server_port, c.to = m.server, m.server6, m.port, m.to
		c.in_syn = value("syn") and true or false
	else
		c.error = not m.warns and m.error or nil
		if c.heads[true].at then
			local ns = math.floor((head.at - c.heads[true].at) * 1e9 + 0.5)
			c.time = NSTime.new(math.floor(ns / 1e9), ns % 1e9)
		end
	end
end

local function in_words(m, to_converter)
	local words = {}
	if m.info then words[#words + 1] = "Info" end
	if m.to then words[#words + 1] = "Connect " .. m.to end
	if m.warns then words[#words + 1] = "connected, with a warning" end
	if m.error then
		words[#words + 1] = ("Error %d %s"):format(m.error, name(ERRORS, m.error)) ..
			(m.why and ": " .. m.why or "")
	elseif not to_converter and m.supported then
		words[#words + 1] = "Supported"
	elseif not to_converter and not m.wrong then
		words[#words + 1] = "connected"
	end
	if m.wrong then words[#words + 1] = m.wrong end
	return table.concat(words, ", ")
end

local function show_message(tvb, c, to_converter, pinfo, tree)
	local len = math.max(4, math.min(tvb:len(), 4 * tvb(1, 1):uint()))
	local item = tree:add(convert, tvb(0, len))
	local m = message(tvb(0, len):tvb(), item, { to_converter = to_converter, server = c.server,
		server6 = c.server6 })
	m.warns = not to_converter and is_warning(c, m)
	learn(c, m, to_converter, pinfo)
	local text = in_words(m, to_converter)
	item:append_text(", " .. text)
	if m.error and not m.warns then item:add_proto_expert_info(refused, text) end
	about(c, item)
	pinfo.cols.protocol = "Convert"
	pinfo.cols.info = text
	pinfo.cols.info:fence()
	return m
end

-- The first bytes of a direction. Returns where the server's own begin; nil: there are none here.
local function begin(tvb, c, head, flow, to_converter, pinfo, tree)
	local len = length_of(tvb)
	if len == false then
		head.none = true
		if not c.heads[not to_converter].frame then return 0 end
		local item = tree:add(convert, tvb(0, math.min(4, tvb:len())))
		item:append_text(", not a Convert message")
		item:add_proto_expert_info(wrong, "not a Convert message")
		about(c, item)
		return 0
	end
	if not len or len > tvb:len() then
		if pinfo.can_desegment > 0 then
			handled = nil -- nothing is shown of it here
			ask(pinfo, flow, 0, 0, len and len - tvb:len() or DESEGMENT_ONE_MORE_SEGMENT)
		else
			add_part(tree:add(convert, tvb()), tvb())
		end
		return nil
	end
	show_message(tvb, c, to_converter, pinfo, tree)
	return len
end

local function show_rest(c, pinfo, tree)
	local item = tree:add(convert)
	item:append_text(c.to and ", to " .. c.to or "")
	item:set_generated()
	about(c, item)
	return item
end

function convert.dissector(tvb, pinfo, tree)
	if tvb:len() == 0 then return 0 end
	local c, tcp = connection_of(pinfo, true)
	local to_converter = is_to_converter(c, pinfo)
	local head, flow = c.heads[to_converter], flow_of(c, tcp, to_converter)
	local pos = position(tvb, pinfo, flow, head)
	local none = head.none and not c.heads[not to_converter].frame
	if none or (pos and pos > 0 and not head.frame and not head.none) or (pos or 0) < 0 then
		return 0 -- no Convert here, or its beginning is not there, or a keepalive's old byte
	end
	local again = handled == pinfo.number
	handled = pinfo.number
	flow.count = (pos or 0) + tvb:len()

	local offset = 0
	if pos == 0 then
		offset = begin(tvb, c, head, flow, to_converter, pinfo, tree)
		if not offset then return tvb:len() end
		if head.none and not c.heads[not to_converter].frame then return 0 end
	elseif pos and head.len and pos < head.len then -- a part of it again
		offset = math.min(head.len - pos, tvb:len())
		add_part(show_rest(c, pinfo, tree), tvb(0, offset))
	elseif not again then
		show_rest(c, pinfo, tree)
	end
	if offset < tvb:len() then hand_on(tvb, offset, pos, c, pinfo, tree, head, flow) end
	return tvb:len()
end

-- Elsewhere than on its port: a client's message that is whole and names a server.
convert:register_heuristic("tcp", function(tvb, pinfo, tree)
	if tvb:len() < 24 or tvb(0, 1):uint() ~= 1 then return false end
	local magic, len = tvb(2, 2):uint(), 4 * tvb(1, 1):uint()
	if (magic ~= MAGIC and magic ~= 0) or len < 24 or len > tvb:len() then return false end
	local at, connect = 4, false
	while at < len do
		local kind, size = tvb(at, 1):uint(), 4 * tvb(at + 1, 1):uint()
		if size == 0 or at + size > len or not OF_CLIENTS[kind] then return false end
		connect = connect or (kind == TLV_CONNECT and size >= 20 and
			(magic == MAGIC or tvb(at + 4, 12):bytes():tohex() == "00000000000000000000FFFF"))
		at = at + size
	end
	if not connect or connections[name_of(pinfo)] then return false end
	connection_of(pinfo, true)
	pinfo.conversation = convert
	convert.dissector(tvb, pinfo, tree)
	return true
end)

-- ----------------------------------------------------- packets that no dissector is called for

-- Acknowledgements, ends, and the draft's fatal Error, which rides in a reset.
local others = Proto("convert_stream", "TCP Convert, packets without data")

function others.dissector(_, pinfo, tree)
	local was_handled = handled == pinfo.number
	handled = nil
	if was_handled or not last("stream") then return end
	local c = connection_of(pinfo)
	if not c or not (c.heads[true].frame or c.heads[false].frame) then return end
	local to_converter = is_to_converter(c, pinfo)
	local head = c.heads[to_converter]
	local cause = last("cause")
	local bytes = cause and cause.range:tvb()
	if bytes and bytes:len() >= 4 and (length_of(bytes) or 999) <= bytes:len() then
		show_message(bytes, c, to_converter, pinfo, tree)
		return
	end
	local item = show_rest(c, pinfo, tree)
	if (value("fin") or value("rst")) and not head.frame and not head.none then
		head.cut = head.cut or pinfo.number
	end
	if head.cut == pinfo.number then
		item:add_proto_expert_info(wrong, "the connection ends before there was a whole message")
	end
end
register_postdissector(others)

-- ------------------------------------------------------------------------------- the ports

local registered

local function listen()
	local text = tostring(convert.prefs.ports)
	if text == registered then return end
	if registered and registered ~= "" then tcp_ports:remove(registered, convert) end
	if text ~= "" then tcp_ports:add(text, convert) end
	registered, ports = text, {}
	for low, high in text:gmatch("(%d+)%-?(%d*)") do
		for port = tonumber(low), tonumber(high ~= "" and high or low) do ports[port] = true end
	end
end

convert.prefs_changed = listen
listen()
