local name = ARGV[1]
local kinds = {1, 'two', {x = true}, {1.5, 'a\nb', {}}, 1e300}
local function double(n)
  local result = n * 2
  redis.debug('doubled', n, result, kinds[4])
  return result
end
for i = 1, 3 do
  redis.call('incr', KEYS[1])
  double(i)
end
redis.breakpoint()
local range = redis.call('lrange', KEYS[2], 0, -1)
local wrong = redis.pcall('get', KEYS[2])
local long = string.rep('x', 300)
local caught = pcall(function()
  error('for nobody')
end)
return {name, range, redis.call('get', KEYS[1])}
