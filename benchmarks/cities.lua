-- wrk: a GET for each of 128 URLs in turn, with what a browser behind a proxy sends.
local headers = {
  ["Host"] = "cities.example",
  ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
  ["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
  ["Accept-Language"] = "en-GB,en;q=0.8,de;q=0.5",
  ["Accept-Encoding"] = "gzip, deflate, br, zstd",
  ["Connection"] = "keep-alive",
  ["X-Forwarded-For"] = "203.0.113.7",
  ["X-Forwarded-Proto"] = "https",
}
local requests, number = {}, 0

init = function()
  for n = 0, 127 do
    requests[n] = wrk.format("GET", "/cities/" .. n, headers)
  end
end

request = function()
  number = (number + 1) % 128
  return requests[number]
end
