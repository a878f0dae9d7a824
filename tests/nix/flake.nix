# Stands in for nixpkgs where that cannot be fetched: the attributes that ../../flake.nix uses, and no others.
# The machine shows Nix's sandbox its Python at /python, its libraries and shell at their places, the packages
# of the kit's virtual environment at /site, and files named by their sha256 at /artifacts.
{
  description = "The attributes of nixpkgs that the flake uses";

  outputs = { self }:
    let
      system = "x86_64-linux";

      run = name: more: script: derivation ({
        inherit name system script;
        builder = "/bin/sh";
        args = [ "-ec" "PATH=/bin\nfor p in $nativeBuildInputs; do PATH=$p/bin:$PATH; done\nexport PATH\neval \"$script\"" ];
      } // more);

      # Nix itself compares what this brings with the hash.
      fetch = { name, sha256 }: derivation {
        inherit name system;
        builder = "/bin/sh";
        args = [ "-ec" "/bin/cp /artifacts/${sha256} $out" ];
        outputHashMode = "flat";
        outputHashAlgo = "sha256";
        outputHash = sha256;
      };

      program = name: run name { } "mkdir $out";

      python = run "python311" { } ''
        mkdir -p $out/bin
        printf '%s\n' '#!/bin/sh' 'PYTHONPATH=$PYTHONPATH:/site exec /python/bin/python3.11 "$@"' > $out/bin/python3
        chmod +x $out/bin/python3
      '';
    in
    {
      legacyPackages.${system} = {
        fetchurl = { name, sha256, url ? null, urls ? [ url ] }:
          assert builtins.all (u: builtins.match "(https|mirror)://.+" u != null) urls;
          fetch { inherit name sha256; };

        fetchPypi = { format, pname, version, dist, python, abi, platform, sha256 }:
          assert format == "wheel" && dist == python && builtins.match "(py|cp)[0-9].*" python != null;
          fetch { name = "${pname}-${version}-${python}-${abi}-${platform}.whl"; inherit sha256; };

        runCommand = run;

        python311 = python // {
          withPackages = choose:
            assert builtins.length (choose { installer = 1; isal = 2; jsonschema = 3; rfc8785 = 4; }) == 4;
            python;
        };

        mkShell = { packages }: run "shell" { nativeBuildInputs = packages; } "mkdir $out";

        gnumake = program "gnumake";
        git = program "git";
        openssl = program "openssl";
        runc = program "runc";
        uv = program "uv";
      };
    };
}
