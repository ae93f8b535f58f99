import { QueryClient } from "@tanstack/react-query";

import { ApiFailure } from "./failure";

/** The cache of what control said. Events keep it fresh; the interval only catches what no event tells. */
export function makeQueryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: 5_000,
        gcTime: 5 * 60_000,
        refetchOnWindowFocus: false,
        // the connection's return fetches everything anew
        retry: (count, error) => count < 2 && ApiFailure.from(error).isPassing,
        retryDelay: (count) => 300 * 2 ** count,
        networkMode: "always",
      },
      mutations: { networkMode: "always" },
    },
  });
}
