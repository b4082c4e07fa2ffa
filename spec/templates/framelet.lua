-- Written by spec/make_dissectors.py from spec/templates/framelet.lua: change it there.
--
-- Wireshark dissector for Framelet, version @VERSION.
--
--     wireshark -X lua_script:framelet.lua
--     tshark -X lua_script:framelet.lua -Y 'framelet.error.code >= 500' -r capture.pcapng
--
-- or copy it into the folder of personal Lua plugins (Help, About, Folders).  It looks at TCP port @DEFAULT_PORT,
-- or at the ports set in the preferences; "Decode As" takes it for any other.  Expert information names
-- what a frame breaks by the condition of the error registry, SPEC.md section 7.

local framelet = Proto("framelet", "Framelet")

-- First and last type octet, name, form of the body, who may send it, whether it asks for an answer.
local KINDS = {
@kinds
}

-- Name and condition of each error code.
local CODES = {
@codes
}

-- Least and greatest number behind each key that has bounds, by the form of the body.
local NUMBERS = {
@numbers
}

-- Well-formed UTF-8, the Unicode Standard table 3-7; each pattern captures the place behind it.
local SEQUENCES = {
    "^[\x00-\x7F]+()",
    "^[\xC2-\xDF][\x80-\xBF]()",
    "^\xE0[\xA0-\xBF][\x80-\xBF]()",
    "^[\xE1-\xEC\xEE\xEF][\x80-\xBF][\x80-\xBF]()",
    "^\xED[\x80-\x9F][\x80-\xBF]()",
    "^\xF0[\x90-\xBF][\x80-\xBF][\x80-\xBF]()",
    "^[\xF1-\xF3][\x80-\xBF][\x80-\xBF][\x80-\xBF]()",
    "^\xF4[\x80-\x8F][\x80-\xBF][\x80-\xBF]()",
}

local kind_of, name_of, title_of = {}, {}, {}
for _, row in ipairs(KINDS) do
    local kind = {name = row[3], form = row[4], senders = row[5], asks = row[6]}
    for octet = row[1], row[2] do
        kind_of[octet], name_of[octet] = kind, kind.name
    end
end
for code, row in pairs(CODES) do
    title_of[code] = row[1]
end
for code = @FIRST_APPLICATION_CODE, @LAST_APPLICATION_CODE do
    title_of[code] = "application"
end

local function name_of_code(code)
    return code .. " " .. (title_of[code] or "of a later version")
end

local fields = {
    type = ProtoField.uint8("framelet.type", "Type", base.HEX, name_of),
    length = ProtoField.uint32("framelet.length", "Length", base.DEC, nil, nil, "Octets in the body"),
    body = ProtoField.bytes("framelet.body", "Body"),
    text = ProtoField.string("framelet.text", "Text"),
    code = ProtoField.uint16("framelet.error.code", "Code", base.DEC, title_of),
    error_text = ProtoField.string("framelet.error.text", "Text"),
    version = ProtoField.uint32("framelet.hello.version", "Version"),
    parameter = ProtoField.string("framelet.parameter", "Parameter"),
    key = ProtoField.string("framelet.parameter.key", "Key"),
    value = ProtoField.string("framelet.parameter.value", "Value"),
    discarded = ProtoField.bytes("framelet.discarded", "Behind a refused header"),
    answered_in = ProtoField.framenum("framelet.answered_in", "Answered in", base.NONE, frametype.RESPONSE),
    answers = ProtoField.framenum("framelet.answers", "Answers the frame in", base.NONE, frametype.REQUEST),
    time = ProtoField.relative_time("framelet.time", "Time to the answer"),
}
framelet.fields = fields

local recoverable_error = ProtoExpert.new("framelet.error.recoverable", "Recoverable ERROR",
    expert.group.RESPONSE_CODE, expert.severity.NOTE)
local fatal_error = ProtoExpert.new("framelet.error.fatal", "Fatal ERROR",
    expert.group.RESPONSE_CODE, expert.severity.WARN)
-- framelet.fault.ill_formed_text and so on: what the octets of a frame alone can break.
local faults = {}
for _, code in ipairs({
    @TYPE_UNKNOWN, @TYPE_UNEXPECTED, @FRAME_TOO_LARGE,
    @ILL_FORMED_TEXT, @PING_TOO_LARGE, @HELLO_MALFORMED, @ANSWER_MALFORMED,
}) do
    local title, condition = table.unpack(CODES[code])
    faults[code] = ProtoExpert.new("framelet.fault." .. title:gsub("-", "_"), condition,
        expert.group.PROTOCOL, expert.severity.ERROR)
end
local experts = {recoverable_error, fatal_error}
for _, fault in pairs(faults) do
    experts[#experts + 1] = fault
end
framelet.experts = experts

framelet.prefs.ports = Pref.range("TCP ports", "@DEFAULT_PORT", "Ports that Framelet servers listen on", 65535)
framelet.prefs.max_body = Pref.uint("Maximum body size", @DEFAULT_MAX_BODY,
    "A longer body counts as refused, and what follows it is not decoded (octets)")

-- What is known of the connections.  It is learnt when a packet is seen first, in order, and looked up by
-- place when it is shown again; another capture starts anew.
local refused   -- whether one direction has had a refused header
local discarded -- whether the octets at a place stand behind one
local queues    -- the frames of each client that have no answer yet
local asked     -- the frame that stands at a place, or is answered there

function framelet.init()
    refused, discarded, queues, asked = {}, {}, {}, {}
end

local function place_of(tvb, pinfo)
    return pinfo.number .. " " .. tvb:offset()
end

local tcp_stream = Field.new("tcp.stream")

local function stream_of(pinfo)
    local info = tcp_stream()
    if info then return info.value end
    -- In the first of two passes tshark has no fields.
    local ends = {tostring(pinfo.src) .. " " .. pinfo.src_port, tostring(pinfo.dst) .. " " .. pinfo.dst_port}
    table.sort(ends)
    return table.concat(ends, " ")
end

local function direction_of(pinfo)
    return stream_of(pinfo) .. ", from " .. pinfo.src_port
end

-- The port by which Wireshark chose this dissector is the server's.
local function is_from_server(pinfo)
    return pinfo.match_uint == pinfo.src_port
end

-- Bodies.

-- The offset of the first octet that makes a text ill-formed, or nil.
local function ill_formed_at(octets)
    local place = 1
    while place <= #octets do
        local behind
        for _, sequence in ipairs(SEQUENCES) do
            behind = octets:match(sequence, place)
            if behind then break end
        end
        if not behind then return place - 1 end
        place = behind
    end
    return nil
end

-- A text as Wireshark can show it: its own strings end at U+0000.
local function shown(octets)
    return (octets:gsub("\0", "\xE2\x90\x80"))
end

-- Add key=value, separated by one space each; whether all of them are of their form.
local function add_parameters(tree, body, octets, place, form)
    local seen = {}
    while place <= #octets do
        local key, value, behind = octets:match("^([a-z][a-z0-9-]*)=([\x21-\x7E]+)()", place)
        if not key or #key > 32 or seen[key] then return false end
        local bounds = NUMBERS[form][key]
        local number = tonumber(value:match("^0$") or #value <= 10 and value:match("^[1-9][0-9]*$") or nil)
        if bounds and not (number and bounds[1] <= number and number <= bounds[2]) then return false end
        seen[key] = true
        local item = tree:add_packet_field(fields.parameter, body(place - 1, behind - place), ENC_UTF_8)
        item:add_packet_field(fields.key, body(place - 1, #key), ENC_UTF_8)
        item:add_packet_field(fields.value, body(place + #key, #value), ENC_UTF_8)
        if behind > #octets then return true, seen end
        if octets:sub(behind, behind) ~= " " then return false end
        place = behind + 1
    end
    return false -- a parameter is missing here
end

-- Each form adds its fields to the tree and returns the code of the condition that the body meets, or nil;
-- an ERROR returns its own code besides.
local forms = {}

function forms.text(tree, body, octets)
    tree:add(fields.text, body, shown(octets))
end

function forms.ping_body(tree, body, octets, from_server)
    forms.text(tree, body, octets)
    if #octets <= @MAX_PING_BODY then return nil end
    return from_server and @ANSWER_MALFORMED or @PING_TOO_LARGE
end

function forms.error_body(tree, body, octets)
    local code = tonumber(octets:match("^([45][0-9][0-9]) "))
    if not code or #octets > @MAX_ERROR_BODY then return @ANSWER_MALFORMED end
    tree:add(fields.code, body(0, 3), code)
    tree:add(fields.error_text, body(3), shown(octets:sub(5))) -- with the space, as no range may be empty
    local severity = code >= 500 and fatal_error or recoverable_error
    tree:add_proto_expert_info(severity, "ERROR " .. name_of_code(code))
    return nil, code
end

function forms.hello_body(tree, body, octets, from_server)
    local fault = from_server and @ANSWER_MALFORMED or @HELLO_MALFORMED
    local version, behind = octets:match("^framelet/([1-9][0-9]*)()")
    if not version or #version > 5 or #octets > @MAX_HELLO_BODY then return fault end
    tree:add(fields.version, body(9, #version), tonumber(version))
    if behind > #octets then return nil end
    if octets:sub(behind, behind) ~= " " then return fault end
    return not add_parameters(tree, body, octets, behind + 1, "hello_body") and fault or nil
end

function forms.stopped_body(tree, body, octets)
    local well, keys = add_parameters(tree, body, octets, 1, "stopped_body")
    for key in pairs(NUMBERS.stopped_body) do
        well = well and keys[key]
    end
    return (not well or #octets > @MAX_STOPPED_BODY) and @ANSWER_MALFORMED or nil
end

-- Frames.

-- The code with which a receiver refuses a frame at its header, or nil.
local function refusal(kind, length)
    if kind.senders == "nobody" then return @TYPE_UNKNOWN end
    if length > framelet.prefs.max_body then return @FRAME_TOO_LARGE end
    return nil
end

-- Link an answer with what it answers: by order alone, as SPEC.md section 6 says.
local function pair(tvb, pinfo, tree, asks, answers)
    local here = place_of(tvb, pinfo)
    if not pinfo.visited then
        local stream = stream_of(pinfo)
        local queue = queues[stream] or {first = 1, last = 0}
        queues[stream] = queue
        if asks then
            queue.last = queue.last + 1
            queue[queue.last] = {number = pinfo.number, time = pinfo.rel_ts}
            asked[here] = queue[queue.last]
        elseif answers and queue.first <= queue.last then
            asked[here] = queue[queue.first]
            asked[here].answered_in = pinfo.number
            queue[queue.first] = nil
            queue.first = queue.first + 1
        end
    end
    local ask = asked[here]
    if ask and asks and ask.answered_in then
        tree:add(fields.answered_in, ask.answered_in):set_generated()
    elseif ask and answers then
        local seconds = pinfo.rel_ts - ask.time
        local whole = math.floor(seconds)
        tree:add(fields.answers, ask.number):set_generated()
        tree:add(fields.time, NSTime.new(whole, math.floor((seconds - whole) * 1e9 + 0.5))):set_generated()
    end
end

local function complain(tree, code, more)
    tree:add_proto_expert_info(faults[code], CODES[code][2] .. (more or "") .. " (" .. code .. ")")
end

-- Add the body; returns what its form returns, and words about the fault.
local function dissect_body(tree, body, kind, from_server)
    if body:len() > 0 then
        tree:add(fields.body, body)
    end
    local form = forms[kind.form]
    if not form then return nil end
    local octets = body:raw()
    local bad = ill_formed_at(octets)
    if bad then return @ILL_FORMED_TEXT, nil, ", at octet " .. bad .. " of the body" end
    return form(tree, body, octets, from_server)
end

local function dissect_frame(tvb, pinfo, tree)
    local octet, length = tvb(@TYPE_OFFSET, @TYPE_SIZE):uint(), tvb(@LENGTH_OFFSET, @LENGTH_SIZE):uint()
    local kind, from_server = kind_of[octet], is_from_server(pinfo)
    local item = tree:add(framelet, tvb(), "Framelet " .. kind.name .. ", length " .. length)
    item:add(fields.type, tvb(@TYPE_OFFSET, @TYPE_SIZE))
    item:add(fields.length, tvb(@LENGTH_OFFSET, @LENGTH_SIZE))
    local fault, note = refusal(kind, length), length
    if fault then
        refused[direction_of(pinfo)] = true
        complain(item, fault)
        if tvb:len() > @HEADER_SIZE then
            item:add(fields.discarded, tvb(@HEADER_SIZE))
        end
        note = "refused"
    elseif tvb:len() < @HEADER_SIZE + length then
        note = "not captured whole"
    else
        local code, words
        fault, code, words = dissect_body(item, tvb(@HEADER_SIZE, length), kind, from_server)
        if not kind.senders:find(from_server and "server" or "client") then
            complain(item, @TYPE_UNEXPECTED) -- before the body is looked at
        elseif fault then
            complain(item, fault, words)
        end
        local answers = from_server and kind.name ~= "ignorable" and not (code and code >= 500)
        pair(tvb, pinfo, item, kind.asks and not from_server, answers)
        note = code and name_of_code(code) or length
    end
    pinfo.cols.info:append(kind.name .. "(" .. note .. ") ")
    return tvb:len()
end

-- The octets that belong to a frame: where its header is refused, all that there are.
local function frame_size(tvb, _, offset)
    local octet = tvb(offset + @TYPE_OFFSET, @TYPE_SIZE):uint()
    local length = tvb(offset + @LENGTH_OFFSET, @LENGTH_SIZE):uint()
    return refusal(kind_of[octet], length) and tvb:len() - offset or @HEADER_SIZE + length
end

-- Whether octets stand behind a refused header, where there are no boundaries any more.
local function is_discarded(tvb, pinfo)
    local here = place_of(tvb, pinfo)
    if not pinfo.visited then
        discarded[here] = refused[direction_of(pinfo)]
    end
    return discarded[here]
end

function framelet.dissector(tvb, pinfo, tree)
    pinfo.cols.protocol = "Framelet"
    if is_discarded(tvb, pinfo) then
        tree:add(framelet, tvb(), "Framelet, behind a refused header"):add(fields.discarded, tvb())
        pinfo.cols.info = "behind a refused header"
        return tvb:len()
    end
    local is_first = true
    dissect_tcp_pdus(tvb, tree, @HEADER_SIZE, frame_size, function(...)
        if is_first then
            pinfo.cols.info:clear() -- of what TCP wrote
            is_first = false
        end
        return dissect_frame(...)
    end)
    return tvb:len()
end

-- Ports.

local tcp_ports = DissectorTable.get("tcp.port")
local ports = framelet.prefs.ports
tcp_ports:add(ports, framelet)

function framelet.prefs_changed()
    if ports ~= framelet.prefs.ports then
        tcp_ports:remove(ports, framelet)
        ports = framelet.prefs.ports
        tcp_ports:add(ports, framelet)
    end
end
