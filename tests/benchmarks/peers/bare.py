"""No tool at all: aiohttp and a semaphore, rows in their order. What a client could reach that keeps nothing."""

import asyncio

import aiohttp

from tests.benchmarks.peers.chain import MAX_TOKENS, MODEL, STEPS, TEMPERATURE, fill, read_words, report


async def main() -> None:
    asked = read_words("aiohttp")
    places = asyncio.Semaphore(asked.at_once)
    url = f"{asked.url}/chat/completions"

    async def run(client: aiohttp.ClientSession, number: int) -> dict[str, object]:
        row: dict[str, object] = {"row": number}
        async with places:
            for name in STEPS:
                body = {
                    "model": MODEL,
                    "messages": [{"role": "user", "content": fill(name, row)}],
                    "temperature": TEMPERATURE,
                    "max_tokens": MAX_TOKENS,
                }
                async with client.post(url, json=body) as response:
                    row[name] = (await response.json())["choices"][0]["message"]["content"]
        return row

    connector = aiohttp.TCPConnector(limit=asked.at_once)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=600)) as client:
        rows = await asyncio.gather(*(run(client, number) for number in range(asked.rows)))
    whole = sum(all(row[name] for name in STEPS) for row in rows)
    report(whole, version=aiohttp.__version__, settings="a semaphore")


if __name__ == "__main__":
    asyncio.run(main())
