-- Probes of cjson, cmsgpack, struct and bit. What they return is in libraries.expected, from the reference.
local O, n = {}, 0
local function show(v, d)
  local t = type(v)
  if t == "string" then return (string.format("%q", v):gsub("[\1-\9\11-\31\127-\255]", function(c) return "\\" .. c:byte() end)) end
  if t == "number" then return string.format("%.17g", v) end
  if t ~= "table" then return t == "userdata" and "userdata" or t == "function" and "function" or tostring(v) end
  d = d or 0
  if d > 3 then return "{..}" end
  local o = {}
  for k, x in pairs(v) do o[#o + 1] = show(k, d + 1) .. "=" .. show(x, d + 1) end
  return "{" .. table.concat(o, ",") .. "}"
end
local function p(f, ...)
  n = n + 1
  local r = {pcall(f, ...)}
  local o = {}
  for i = 1, table.maxn(r) do o[i] = show(r[i]) end
  O[#O + 1] = n .. " " .. table.concat(o, " ")
end
local enc, dec = cjson.encode, cjson.decode
for _, v in ipairs{0, -0, 1, -1.5, 1/3, 1e15, 1e14, 123456789012345, 1e100, 5e-324, 2^53, "", "a", "\0\1\31 \127\128\255\"\\/\b\f\n\r\t", {}, {1}, {1, 2, 3}, {a = 1}, {1, a = 2}, {[1] = 1, [3] = 3}, {[10] = 1}, {[11] = 1}, {[100] = 1}, {[1.5] = 1}, {[-1] = 1}, {[0] = 1}, {[2^31] = 1}, {[2^40] = 1, [1] = 2}, {true, false, cjson.null}, {[true] = 1}, {{{}}, {{}}}, {f = print}, {1, 2, nil, 4}, "\226\130\172", {x = {y = {z = {1, {2}}}}}} do p(enc, v) end
p(enc) p(enc, nil) p(enc, 1, 2) p(enc, 1/0) p(enc, -1/0) p(enc, 0/0) p(enc, print) p(enc, {print}) p(enc, coroutine.create(function() end)) p(enc, true) p(enc, cjson.null) p(enc, {[{}] = 1}) p(enc, {[print] = 1}) p(enc, {a = 0/0}) p(enc, {[1/0] = 1})
p(function() local t = {} for i = 1, 999 do t = {t} end return #enc(t) end) p(function() local t = {} for i = 1, 1000 do t = {t} end return #enc(t) end) p(function() local t = {} t.t = t return enc(t) end)
for _, s in ipairs{"", " ", "1", "-1", "0", "-0", "01", "1.5", "1e5", "1E+5", "-", "- 1", "+1", "1.", ".5", "0x10", "0x1p4", "1e", "inf", "-inf", "Infinity", "-Infinity", "nan", "-nan", "NaN", "nanx", "true", "false", "null", "truex", "tru", "nul", "[", "]", "[]", "[1", "[1,", "[1,]", "[1 2]", "[,1]", "{", "}", "{}", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{\"a\" 1}", "{a:1}", "{1:1}", "{\"a\":1 \"b\":2}", "[1]x", "[1] 2", "[1]\0junk", "\"", "\"a", "\"a\\", "\"\\u12\"", "\"\\u0041\"", "\"\\u00e9\"", "\"\\u20ac\"", "\"\\ud834\\udd1e\"", "\"\\ud834\"", "\"\\ud834x\"", "\"\\udd1e\"", "\"\\ud834\\u0041\"", "\"\\uzzzz\"", "\"\\u0000\"", "\"\\x\"", "\"\\/\\b\\f\\n\\r\\t\\\"\\\\\"", "\"a\nb\"", "[1,[2,[3,{\"a\":[4]}]]]", "{\"a\":null}", "[null,1]", " [ 1 , 2 ] ", "\t\r\n{ \"k\" : \"v\" }\n", "@", "'a'", "[1,2,3,\"x\",true]", "{\"a\":{\"b\":{\"c\":1}},\"d\":[]}", "1e400", "-1e400", "1e-400", "123456789012345678901234567890", "\0", "\0\0", "1\0", "\"\0\"", "[\"a\\u0000b\"]", "{\"a\":1,\"a\":2}", "i", "I", "n", "N", "t", "f", "[1}", "{\"a\":1]", "[:]", "[\"a\":1]", "{:1}", "{,}", "/**/1"} do p(dec, s) end
p(dec) p(dec, nil) p(dec, 12) p(dec, {}) p(dec, "1", "2") p(dec, string.rep("[", 1000) .. string.rep("]", 1000)) p(dec, string.rep("[", 1001) .. string.rep("]", 1001)) p(dec, string.rep("{\"a\":", 1001)) p(dec, string.rep("[", 1001))
local C = cjson.new()
p(C.encode_sparse_array) p(C.encode_sparse_array, true) p(C.encode, {[1000] = 1}) p(C.encode_sparse_array, "off", 0, 5) p(C.encode, {[1000] = 1, [1] = 3}) p(C.encode_sparse_array, false, 3, 2) p(C.encode, {[7] = 1, [2] = 1}) p(C.encode, {[6] = 1, [2] = 1}) p(C.encode_sparse_array, "x") p(C.encode_sparse_array, 1) p(C.encode_sparse_array, nil, -1) p(C.encode_sparse_array, nil, 2^31) p(C.encode_sparse_array, nil, "x") p(C.encode_sparse_array, 1, 2, 3, 4)
p(C.encode_max_depth) p(C.encode_max_depth, 2) p(C.encode, {{1}}) p(C.encode, {{{1}}}) p(C.encode_max_depth, 0) p(C.encode_max_depth, 2^40) p(C.decode_max_depth) p(C.decode_max_depth, 2) p(C.decode, "[[1]]") p(C.decode, "[[[1]]]") p(C.decode, "{\"a\":{\"b\":{}}}") p(C.decode_max_depth, 1, 2)
p(C.encode_number_precision) p(C.encode_number_precision, 3) p(C.encode, 1/3) p(C.encode, 123456) p(C.encode_number_precision, 15) p(C.encode_number_precision, 16) p(C.encode_number_precision, 0) p(C.encode_number_precision, 17)
p(C.encode_keep_buffer) p(C.encode_keep_buffer, false) p(C.encode_keep_buffer, "on") p(C.encode_keep_buffer, "x") p(C.encode, "x")
p(C.encode_invalid_numbers) p(C.encode_invalid_numbers, true) p(C.encode, {1/0, -1/0, 0/0, -(0/0)}) p(C.encode_invalid_numbers, "null") p(C.encode, {1/0, -1/0, 0/0}) p(C.encode_invalid_numbers, "off") p(C.encode, 1/0) p(C.encode_invalid_numbers, "maybe") p(C.encode_invalid_numbers, 1)
p(C.decode_invalid_numbers) p(C.decode_invalid_numbers, false)
for _, s in ipairs{"01", "-01", "0x10", "-0x10", "+1", "inf", "-inf", "nan", "-nan", "Infinity", "1.5", "-0", "[nan]", "1e5", "0"} do p(C.decode, s) end
p(function() return cjson._NAME, cjson._VERSION, type(cjson.null), cjson.encode_max_depth() end) p(function() return tostring(cjson.null) end) p(function() return cjson.null == dec("null"), cjson.null == nil end)
local pack, unpk = cmsgpack.pack, cmsgpack.unpack
for _, v in ipairs{0, 1, 127, 128, 255, 256, 65535, 65536, 4294967295, 4294967296, 2^53, 2^63, 2^64, -1, -32, -33, -128, -129, -32768, -32769, -2147483648, -2147483649, -2^63, 1.5, 1/3, 1e300, 1/0, -1/0, "", "a", string.rep("x", 31), string.rep("x", 32), string.rep("x", 255):len(), true, false, {}, {1, 2, 3}, {a = 1}, {1, a = 2}, {[2] = 1}, {[1.5] = 1}, {[0] = 1}, {[-1] = 1}, {{}, {{}}}, {[1] = 1, [2] = 2, [4] = 4}, {y = 5, x = 7}, print} do p(pack, v) end
p(pack) p(pack, nil) p(pack, 1, "a", {}, nil, true) p(function() return #pack(string.rep("x", 256)), #pack(string.rep("x", 65536)), pack(string.rep("x", 256)):sub(1, 4), pack(string.rep("x", 65536)):sub(1, 6) end)
p(function() local t = {} for i = 1, 16 do t[i] = i end return pack(t) end) p(function() local t = {} for i = 1, 16 do t["k" .. i] = i end return #pack(t), pack(t):sub(1, 3) end) p(function() local t = {} for i = 1, 70000 do t[i] = 1 end return #pack(t), pack(t):sub(1, 6) end)
p(function() local t = {} for i = 1, 20 do t = {t} end return pack(t) end) p(function() local t = {} for i = 1, 20 do t = {x = t} end return pack(t) end) p(function() local t = {} t[1] = t return pack(t) end)
p(function() return pack(setmetatable({1, 2}, {__index = function() return "i" end})) end)
for _, s in ipairs{"", "\0", "\127", "\128", "\129", "\129\1", "\129\1\2", "\144", "\145", "\145\1", "\146\1", "\160", "\161", "\161a", "\192", "\193", "\194", "\195", "\196", "\202", "\202\63\128\0\0", "\203", "\203\63\240\0\0\0\0\0\0", "\204", "\204\255", "\205", "\205\1", "\205\1\2", "\206\1\2\3\4", "\206\255\255\255\255", "\207\0\0\0\0\0\0\0\1", "\207\255\255\255\255\255\255\255\255", "\208\128", "\209\128\0", "\210\128\0\0\0", "\211\128\0\0\0\0\0\0\0", "\211\0\0\0\0\0\0\0\1", "\212", "\213", "\216", "\217", "\217\1", "\217\1a", "\218\0\1a", "\219\0\0\0\1a", "\219\255\255\255\255a", "\220\0\1\1", "\220\255\255", "\221\0\0\0\1\1", "\221\255\255\255\255", "\222\0\1\1\2", "\223\0\0\0\1\1\2", "\223\255\255\255\255", "\224", "\255", "\1\2\3", "\1\193", "\129\192\1", "\129\203\127\248\0\0\0\0\0\0\1", "\145\145\145\1\2", "\147\1\2"} do p(unpk, s) end
p(unpk) p(unpk, nil) p(unpk, {}) p(unpk, 12) p(cmsgpack.unpack_one, "\1\2\3") p(cmsgpack.unpack_one, "\1\2\3", 1) p(cmsgpack.unpack_one, "\1\2\3", 2) p(cmsgpack.unpack_one, "\1\2\3", 3) p(cmsgpack.unpack_one, "\1\2\3", 4) p(cmsgpack.unpack_one, "\1\2\3", -1) p(cmsgpack.unpack_one) p(cmsgpack.unpack_one, "") p(cmsgpack.unpack_limit, "\1\2\3") p(cmsgpack.unpack_limit, "\1\2\3", 2) p(cmsgpack.unpack_limit, "\1\2\3", 2, 1) p(cmsgpack.unpack_limit, "\1\2\3", 5) p(cmsgpack.unpack_limit, "\1\2\3", 0) p(cmsgpack.unpack_limit, "\1\2\3", -1) p(cmsgpack.unpack_limit, "\1\2\3", 0, 1) p(cmsgpack.unpack_limit, "\1\2\3", "x") p(cmsgpack.unpack_limit)
p(function() return unpk(pack({1, "a", {x = {y = {1.5, -7, 2^40}}}, true, false})) end) p(unpk, string.rep("\145", 3000) .. "\1") p(unpk, string.rep("\1", 7000)) p(unpk, string.rep("\1", 9000)) p(unpk, string.rep("\145", 5000)) p(unpk, string.rep("\129", 9000)) p(function() return cmsgpack._NAME, cmsgpack._VERSION, cmsgpack._COPYRIGHT, cmsgpack._DESCRIPTION end)
local sp, su, ss = struct.pack, struct.unpack, struct.size
for _, a in ipairs{{"b", 1}, {"b", -1}, {"b", 300}, {"B", 255}, {"h", -2}, {">h", 258}, {"<h", 258}, {"H", 65535}, {"i", 1}, {"I", 2^32 - 1}, {"l", -1}, {">L", 2^53}, {"T", 5}, {"i1", 5}, {"i3", 66051}, {">i3", 66051}, {"i8", -1}, {"i16", -1}, {">i16", 1}, {"i32", 2^63}, {"i33", 1}, {"i0", 1}, {"i99999999999", 1}, {"f", 1.5}, {">f", 1.5}, {"d", 1/3}, {">d", 1/3}, {"f", 1e300}, {"x"}, {"xxb", 1}, {"s", "abc"}, {"s", "a\0b"}, {"c", "abc"}, {"c2", "abc"}, {"c5", "abc"}, {"c0", "abc"}, {"c0", ""}, {"!4bi", 1, 2}, {"!8bd", 1, 2}, {"!bi", 1, 2}, {"!3b", 1}, {"!0b", 1}, {"!bh", 1, 2}, {"bi", 1, 2}, {"> b < h", 1, 2}, {"z", 1}, {"?", 1}, {"b"}, {"bb", 1}, {"s"}, {"b", "x"}, {"b", "12"}, {"s", {}}, {"I", -1}, {"I", 2^64}, {"I", 1e300}, {"i", 0/0}, {"!16bi16", 1, 2}, {"!4bi3", 1, 2}, {"", 1}, {"  ", 1}} do p(sp, unpack(a)) end
p(sp) p(sp, nil) p(sp, {}) p(sp, "\0b", 1)
for _, a in ipairs{{"b", "\255"}, {"B", "\255"}, {"h", "\1\255"}, {">h", "\1\255"}, {"i", "\1\2\3\4"}, {"I", "\255\255\255\255"}, {"l", string.rep("\255", 8)}, {"L", string.rep("\255", 8)}, {"i3", "\255\255\255"}, {"I3", "\255\255\255"}, {"i16", string.rep("\255", 16)}, {">I16", string.rep("\1", 16)}, {"i0", ""}, {"f", "\0\0\192\63"}, {">f", "\63\192\0\0"}, {"d", "\0\0\0\0\0\0\240\63"}, {">d", "\63\240\0\0\0\0\0\0"}, {"x", "a"}, {"s", "ab\0c"}, {"s", "abc"}, {"c", "abc"}, {"c2", "abc"}, {"c5", "abc"}, {"c0", "abc"}, {"bc0", "\2abc"}, {"bc0", "\9abc"}, {"bc0", "\255abc"}, {"sc0", "x\0abc"}, {"bbb", "ab"}, {"b", ""}, {"b", "abc", 2}, {"b", "abc", 4}, {"b", "abc", 0}, {"b", "abc", -1}, {"b", "abc", 3}, {"", "abc", 3}, {"", "abc", 5}, {"!4bi", "\1\0\0\0\2\0\0\0"}, {"z", "a"}, {"i33", "a"}, {"c2147483647", "a"}, {"c99999999999", "a"}, {"b"}, {"s", "a\0b\0", 3}, {"ss", "a\0b\0"}, {">I2c0", "\0\3abcd"}} do p(su, unpack(a)) end
p(su) p(su, "b", nil) p(su, "b", 5) p(su, "b", "x", "y")
for _, f in ipairs{"b", "bhilLTfd", "!bhil", "!4bd", "c10", "c0", "s", "x", "z", "?", "i33", "!3", "i3", "i", "", " ", "9", "!8bc3d"} do p(ss, f) end
p(ss)
for _, f in ipairs{"tobit", "bnot", "bswap", "tohex"} do for _, v in ipairs{0, 1, -1, 0.5, 1.5, 2.5, 2^31, 2^32, 2^32 + 5, -2^31, 2^40, 2^51, 2^52, 2^53, 1e15, 1e300, 1/0, 0/0, "12", "0x10"} do p(bit[f], v) end p(bit[f]) p(bit[f], "x") p(bit[f], {}) p(bit[f], nil) end
for _, f in ipairs{"band", "bor", "bxor"} do p(bit[f], 12, 10) p(bit[f], 12) p(bit[f], 1, 2, 4, 8) p(bit[f], -1, 2^31) p(bit[f]) p(bit[f], 1, "x") p(bit[f], 1, nil) end
for _, f in ipairs{"lshift", "rshift", "arshift", "rol", "ror"} do for _, v in ipairs{0, 1, 31, 32, 33, -1, 100} do p(bit[f], -5, v) p(bit[f], 2^31 + 7, v) end p(bit[f], 1) p(bit[f]) end
for _, v in ipairs{0, 1, 4, 8, 9, 100, -1, -4, -8, -9, -2^31, 2^31} do p(bit.tohex, 0xdeadbeef, v) end
return table.concat(O, "\n")
