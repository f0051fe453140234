-- Loops that LuaJIT compiles, compiles anew when a guess fails, and throws away.
local bit = require("bit")

local function mix(hash, value)
	return bit.tobit(bit.bxor(hash, value) * 16777619 % 4294967296)
end

local hash = 5381
for round = 1, 12 do
	-- A new function each time: new code, and old code for the collector.
	local f = loadstring(string.format("local a, b = ... for i = 1, 20000 do a = (a * %d + b + i) %% 2147483647 end return a",
		round * 7 + 1))
	hash = mix(hash, f(round, hash % 1000))

	local list = {}
	for i = 1, 3000 do
		list[i] = (i * 7919 + round) % 10007
	end
	table.sort(list)
	for i = 1, #list, 100 do
		hash = mix(hash, list[i])
	end

	local x, y, steps = 0, 0, 0
	for i = 1, 40000 do
		x, y = x * x - y * y + 0.3 - round / 100, 2 * x * y + 0.5
		if x * x + y * y > 4 then
			x, y, steps = 0, 0, steps + 1
		end
	end
	hash = mix(hash, steps)

	local texts = {}
	for i = 1, 500 do
		-- Types change in the middle of a loop.
		texts[#texts + 1] = i % 3 == 0 and tostring(i * round) or i + 0.5
	end
	local text = table.concat(texts, ",")
	for i = 1, #text do
		hash = mix(hash, text:byte(i))
	end
end
collectgarbage()
print(hash)
