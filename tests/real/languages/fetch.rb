# SPDX-License-Identifier: MIT
# Fetches a URL many times into files, in eight threads with a kept connection each: fetch.rb NUMBER URL
require 'net/http'

number, url = ARGV[0].to_i, URI(ARGV[1])
8.times.map do |n|
	Thread.new do
		Net::HTTP.start(url.host, url.port) do |http|
			(n...number).step(8) do |i|
				File.binwrite("out.#{i}", http.get("#{url.path}?#{i}").body)
			end
		end
	end
end.each(&:join)
